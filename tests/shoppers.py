"""A log of many shoppers, and what profiles and counts have to be after it: a plain oracle."""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from model.events import Click, Event, Purchase, Search
from model.ids import item_hash
from serving.counts import Counts
from serving.profile import pack_interaction, pack_query, profile_of
from serving.store import Store
from tests.parts import DAY_MS, MINUTE_MS, NOW, FakeRecord, records_of

ITEMS = [f"item-{at}" for at in range(40)]
"""Fewer than the neighbours that are kept of each item: nothing is pruned."""
QUERIES = ["tea", "green tea", "绿茶", "手机", "phone", "чай", "book", "bread"]
TOGETHER_MS = 30 * MINUTE_MS
STEP_MS = 5_000
LATENESS = 20
"""Places by which an event may come late."""
FAVORED = 5
"""Shoppers with so many events that their profiles are full, a twentieth of the log each."""


def shopping_log(size: int, *, users: int, seed: int) -> list[Event]:
    """So many events of clicks, purchases and searches, a tenth of them copies that come later.

    A late one is minutes late, so that none comes in below its shopper's window.
    """
    rng = random.Random(seed)
    start = NOW - size * STEP_MS - DAY_MS
    log: list[tuple[float, Event]] = []
    while len(log) < size:
        place = len(log)
        event = _event(rng, users, f"event-{seed}-{place}", start + place * STEP_MS)
        log.append((place + rng.uniform(0, LATENESS), event))
        if rng.random() < 0.1:
            log.append((place + rng.uniform(LATENESS, 10 * LATENESS), event))
    log.sort(key=lambda each: each[0])
    return [event for _, event in log[:size]]


def _event(rng: random.Random, users: int, event_id: str, ts: int) -> Event:
    user = rng.randrange(FAVORED) if rng.random() < FAVORED / 20 else rng.randrange(users)
    user_id, item_id = f"shopper-{user}", rng.choice(ITEMS)
    match rng.random():
        case dice if dice < 0.1:
            return Search(event_id=event_id, user_id=user_id, ts=ts, query=rng.choice(QUERIES))
        case dice if dice < 0.3:
            return Purchase(event_id=event_id, user_id=user_id, ts=ts, item_id=item_id, price=9.5)
        case _:
            return Click(event_id=event_id, user_id=user_id, ts=ts, item_id=item_id)


def partitions_of(log: Sequence[Event], count: int) -> list[list[FakeRecord]]:
    """The log as so many partitions, all records of a shopper in one of them, in order."""
    parts: list[list[Event]] = [[] for _ in range(count)]
    for event in log:
        parts[int(event.user_id.rpartition("-")[2]) % count].append(event)
    return [
        [
            FakeRecord(each.value, each.offset, each.key, partition=partition)
            for each in records_of(events)
        ]
        for partition, events in enumerate(parts)
    ]


def by_user(log: Sequence[Event]) -> dict[str, list[Event]]:
    """The distinct events of each shopper."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in {event.event_id: event for event in log}.values():
        found[event.user_id].append(event)
    return dict(found)


def profile_bytes(events: Sequence[Event]) -> bytes:
    """What the profile of one shopper has to be."""
    return profile_of(
        [pack_interaction(event) for event in events if isinstance(event, Click | Purchase)],
        [pack_query(event) for event in events if isinstance(event, Search)],
    ).pack()


async def wrong_profiles(store: Store, log: Sequence[Event]) -> list[str]:
    """The shoppers whose stored profile is not that of their events."""
    return [
        user_id
        for user_id, events in by_user(log).items()
        if (await store.profile(user_id)).pack() != profile_bytes(events)
    ]


CountsOf = dict[str, dict[int, float]]
"""Weight by item hash, of ``popular``, of each item's neighbours and of each query."""


def expected_counts(log: Sequence[Event], counts: Counts) -> CountsOf:
    """What the shared counts have to be: each event, and each pair of a shopper's, once."""
    total: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for events in by_user(log).values():
        for event in events:
            if isinstance(event, Click | Purchase):
                total["popular"][item_hash(event.item_id)] += counts.weight(event.time)
        for one, other in combinations(sorted(events, key=lambda event: event.time), 2):
            if other.time - one.time > TOGETHER_MS:
                continue
            weight = counts.weight(other.time)
            match one, other:
                case Search(), Click() | Purchase():
                    total[one.query][item_hash(other.item_id)] += weight
                case Click() | Purchase(), Click() | Purchase() if one.item_id != other.item_id:
                    total[one.item_id][item_hash(other.item_id)] += weight
                    total[other.item_id][item_hash(one.item_id)] += weight
    return {name: dict(weights) for name, weights in total.items()}


async def stored_counts(counts: Counts) -> CountsOf:
    """What the shared counts are."""
    near = await counts.neighbours([item_hash(item_id) for item_id in ITEMS])
    after = await counts.chosen_after(QUERIES)
    named = zip(["popular", *ITEMS, *QUERIES], [await counts.popular(), *near, *after], strict=True)
    return {
        name: dict(zip(each.items.tolist(), each.weights.tolist(), strict=True))
        for name, each in named
        if len(each.items)
    }


class CountDifference(NamedTuple):
    """A weight that is not what it has to be."""

    name: str
    """``popular``, an item id or a query."""
    item: int
    stored: float
    expected: float


def count_differences(stored: CountsOf, expected: CountsOf) -> list[CountDifference]:
    """Where two counts differ by more than rounding."""
    places = {(name, item) for each in (stored, expected) for name in each for item in each[name]}
    found = []
    for name, item in sorted(places):
        is_, ought = stored.get(name, {}).get(item, 0.0), expected.get(name, {}).get(item, 0.0)
        if abs(is_ - ought) > 1e-9 * max(is_, ought):
            found.append(CountDifference(name, item, is_, ought))
    return found
