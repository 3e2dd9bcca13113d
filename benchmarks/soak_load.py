"""An endless stream of shoppers' records, each batch a function of its number alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.events import Click, Event, Purchase, Search, encode_event
from tests.parts import DAY_MS, NOW, FakeRecord

BATCH = 256
SESSION = 4
"""Events of one shopper in a batch."""
ITEM_IDS = [f"item-{number}" for number in range(12_102)]
QUERIES = [f"query number {number}" for number in range(2_000)]
SEARCHES, BOUGHT, COPIES = 0.1, 0.1, 0.05
PARTITIONS = 8
STEP_MS = 500
DAYS = 90
START_MS = NOW - DAYS * DAY_MS
"""So long ago that no event asks for a list, as in a replay; ten million take 58 days."""


@dataclass(frozen=True)
class SoakLoad:
    """Shoppers and items by a long-tailed law, a twentieth of the events twice."""

    users: int
    seed: int

    def batch(self, number: int) -> Sequence[FakeRecord]:
        """The records of one micro-batch, in offset order."""
        rng = np.random.default_rng([self.seed, number])
        shoppers = (self.users * rng.random(BATCH // SESSION) ** 2).astype(int)
        users = np.repeat(shoppers, SESSION)[rng.permutation(BATCH)].tolist()
        items = (len(ITEM_IDS) * rng.random(BATCH) ** 3).astype(int).tolist()
        dice, copies = rng.random(BATCH).tolist(), rng.random(BATCH).tolist()
        records: list[FakeRecord] = []
        for at in range(BATCH):
            offset = number * BATCH + at
            if records and copies[at] < COPIES:
                # A producer that tried again: the same event at another offset.
                twice = records[-1]
                record = FakeRecord(twice.value, offset, twice.key, partition=twice.partition)
            else:
                record = _record(offset, users[at], items[at], dice[at])
            records.append(record)
        return records


def _record(offset: int, user: int, item: int, dice: float) -> FakeRecord:
    user_id, event_id, ts = f"shopper-{user}", f"event-{offset}", START_MS + offset * STEP_MS
    event: Event
    if dice < SEARCHES:
        query = QUERIES[item % len(QUERIES)]
        event = Search(event_id=event_id, user_id=user_id, ts=ts, query=query)
    elif dice < SEARCHES + BOUGHT:
        event = Purchase(event_id=event_id, user_id=user_id, ts=ts, item_id=ITEM_IDS[item])
    else:
        event = Click(event_id=event_id, user_id=user_id, ts=ts, item_id=ITEM_IDS[item])
    return FakeRecord(encode_event(event), offset, user_id.encode(), partition=user % PARTITIONS)
