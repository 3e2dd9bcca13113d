"""The demonstration's input: a real shop log, and a few clicks and searches made from it.

The purchases are those of The Complete Journey. The log has no clicks and no searches, so some
are made from what a household bought next: a click on one of the items, or a search for the name
of its product type, at some time between its last basket and that one. All of those carry
``"generated": true``.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.dataset import EventLog
from model.events import Click, Event, Purchase, Search, encode_event
from model.items import Item

REPLAY_FROM = int(datetime(2017, 12, 19, tzinfo=UTC).timestamp() * 1000)
"""The last 13 days of the log: some 50,000 purchases."""
CLICKS = 5_000
SEARCHES = 500
SEED = 7
EARLIEST_BEFORE_MS = 12 * 3_600_000
LATEST_BEFORE_MS = 60_000


@dataclass(frozen=True)
class DemoEvents:
    """What is replayed, in event-time order."""

    events: list[Event]

    def write(self, path: Path) -> None:
        """As JSONL, to look at or to replay by hand."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for event in self.events:
                file.write(encode_event(event) + b"\n")


def purchases_by_time(log: EventLog, start_ms: int, end_ms: int) -> Iterator[Purchase]:
    """The purchases from ``start_ms`` to before ``end_ms``, in event-time order."""
    rows = np.flatnonzero((log.times >= start_ms) & (log.times < end_ms))
    return _purchases(log, rows[np.argsort(log.times[rows], kind="stable")])


def newest_purchases(log: EventLog, end_ms: int, each: int) -> tuple[int, Iterator[Purchase]]:
    """The newest ``each`` purchases of every household before ``end_ms``, one after the other.

    Returns:
        How many they are, and the purchases.
    """
    first, last = log.first_rows[:-1], log.first_rows[1:]
    ends = first + np.add.reduceat(np.append(log.times < end_ms, False), first)
    ends = np.where(last > first, ends, first)
    starts = np.maximum(first, ends - each)
    rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
    return len(rows), _purchases(log, rows)


def _purchases(log: EventLog, rows: NDArray[np.int64]) -> Iterator[Purchase]:
    for row, user, item, time in zip(
        rows.tolist(),
        log.users[rows].tolist(),
        log.items[rows].tolist(),
        log.times[rows].tolist(),
        strict=True,
    ):
        yield Purchase(
            event_id=f"line-{row}",
            user_id=log.user_ids[user],
            ts=time,
            item_id=log.item_ids[item],
        )


def demo_events(log: EventLog, items: Sequence[Item], *, seed: int = SEED) -> DemoEvents:
    """The purchases of the last days, with clicks and searches made from what was bought next."""
    chance = random.Random(seed)
    bought: list[Event] = list(purchases_by_time(log, REPLAY_FROM, 2**62))
    previous = _previous_times(bought)
    # A household's first basket has no earlier moment in the replay to be clicked at.
    possible = [at for at, earlier in enumerate(previous) if earlier is not None]
    chosen = chance.sample(possible, min(CLICKS + SEARCHES, len(possible)))
    names = {item.item_id: item.category[-1] for item in items if item.category}
    made: list[Event] = []
    for number, at in enumerate(chosen):
        purchase, earlier = bought[at], previous[at]
        assert isinstance(purchase, Purchase) and earlier is not None
        made.append(
            _made_before(purchase, earlier, number, names, chance, is_search=number < SEARCHES)
        )
    return DemoEvents(sorted(bought + made, key=lambda event: event.time))


def _previous_times(bought: Sequence[Event]) -> list[int | None]:
    """For each purchase, when the household's basket before it was."""
    current: dict[str, int] = {}
    before: dict[str, int | None] = {}
    found: list[int | None] = []
    for event in bought:
        time = current.get(event.user_id)
        if time != event.time:
            before[event.user_id] = time
            current[event.user_id] = event.time
        found.append(before[event.user_id])
    return found


def _made_before(
    purchase: Purchase,
    earlier: int,
    number: int,
    names: dict[str, str],
    chance: random.Random,
    *,
    is_search: bool,
) -> Event:
    first = max(earlier + 1, purchase.time - EARLIEST_BEFORE_MS)
    last = max(first, purchase.time - LATEST_BEFORE_MS)
    time = min(chance.randint(first, last), purchase.time - 1)
    user, name = purchase.user_id, names.get(purchase.item_id)
    if is_search and name:
        return Search(
            event_id=f"search-{number}", user_id=user, ts=time, query=name.lower(), generated=True
        )
    return Click(
        event_id=f"click-{number}",
        user_id=user,
        ts=time,
        item_id=purchase.item_id,
        generated=True,
    )
