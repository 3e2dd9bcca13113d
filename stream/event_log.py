"""Event files -> the columns that training and evaluation read."""

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from model.dataset import EventLog
from model.events import INTERACTION_KINDS, Cart, Click, Favorite, Purchase, Rating
from stream.history import read_events
from stream.rows import BadRow, RowsError


def read_event_log(paths: Sequence[Path], report: Callable[[BadRow], None]) -> EventLog:
    """The interactions of event files, in columns; other kinds of events are passed over.

    A copy of an event counts once: the log of an at-least-once stream holds some.

    Args:
        paths: JSONL or CSV (plain, gzip, zstd) or Parquet, in any order.
        report: gets each row that breaks the contract.

    Raises:
        RowsError: when a file cannot be read, or none holds an interaction.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    seen: set[tuple[str, int, str]] = set()
    # Columns of machine numbers: a million events take 20 MB, and not the 500 of structs.
    user_codes, item_codes = array("i"), array("i")
    kinds, times = array("B"), array("q")
    for path in paths:
        for _, event in read_events(path, report):
            if not isinstance(event, Click | Cart | Favorite | Rating | Purchase):
                continue
            name = (event.user_id, event.time, event.event_id)
            if name in seen:
                continue
            seen.add(name)
            user_codes.append(users.setdefault(event.user_id, len(users)))
            item_codes.append(items.setdefault(event.item_id, len(items)))
            kinds.append(INTERACTION_KINDS[type(event)])
            times.append(event.time)
    if not times:
        raise RowsError(
            "there is no interaction (click, cart, favorite, rating, purchase) in "
            f"{', '.join(map(str, paths))}; name files that hold some"
        )
    return EventLog.from_columns(
        np.frombuffer(user_codes, np.int32),
        np.frombuffer(item_codes, np.int32),
        np.frombuffer(kinds, np.uint8),
        np.frombuffer(times, np.int64),
        list(users),
        list(items),
    )
