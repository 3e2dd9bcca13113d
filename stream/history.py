"""Event files as one history in event-time order, checked before the first event is handed on."""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from model.events import Event, decode_event
from stream.rows import BadRow, Row, RowsError, decode_rows, read_rows

SORT_LIMIT = 2_000_000
"""Events that are sorted in memory, at some 500 bytes each: 1 GB. Larger files must be sorted."""


class History(NamedTuple):
    """Events by time; ``total`` of them, the first and the last at these epoch milliseconds.

    ``in_order`` tells whether the files already were.
    """

    events: Iterator[Event]
    total: int
    first: int
    last: int
    in_order: bool


def read_history(
    paths: Sequence[Path],
    report: Callable[[BadRow], None],
    *,
    sort_limit: int = SORT_LIMIT,
) -> History:
    """Read the files once to check them; ``report`` gets every row that breaks the contract.

    Up to ``sort_limit`` events are kept and sorted where they are out of order. More are read
    again while they are handed on, and then each file must be in order by itself.

    Raises:
        RowsError: when a file cannot be read, or is out of order and too large to be sorted here.
    """
    kept: list[Event] = []
    disorder: Row | None = None
    total, first, last, in_order = 0, 0, 0, True
    for path in paths:
        newest_in_file = -1
        for row, event in read_events(path, report):
            moment = event.time
            if moment < newest_in_file and disorder is None:
                disorder = row
            in_order = in_order and (total == 0 or moment >= last)
            first, last = (
                (moment, moment) if total == 0 else (min(first, moment), max(last, moment))
            )
            newest_in_file = max(newest_in_file, moment)
            total += 1
            if total <= sort_limit:
                kept.append(event)
            else:
                kept.clear()
    if total <= sort_limit:
        if not in_order:
            kept.sort(key=_moment)  # stable: events of one moment stay as they were
        return History(iter(kept), total, first, last, in_order)
    if disorder is not None:
        raise RowsError(
            f"{disorder.path}:{disorder.line} is older than a row before it, and {total:,} events "
            f"are too many to sort here (at most {sort_limit:,}); sort each file by `ts`"
        )
    merged = heapq.merge(*(_again(path) for path in paths), key=_moment)
    return History(merged, total, first, last, in_order)


def _moment(event: Event) -> int:
    return event.time


def _again(path: Path) -> Iterator[Event]:
    return (event for _, event in read_events(path, lambda bad: None))


def read_events(path: Path, report: Callable[[BadRow], None]) -> Iterator[tuple[Row, Event]]:
    """The events of one file in file order, each with its row; ``report`` gets the bad rows."""
    now_ms = int(time.time() * 1000)
    return decode_rows(read_rows(path), lambda data: decode_event(data, now_ms), report)
