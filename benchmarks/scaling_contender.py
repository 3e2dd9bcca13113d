"""One worker's parts without Kafka: recommends for micro-batches of made-up clicks.

    python -m benchmarks.scaling_contender ITEMS USERS PAST_EVENTS

The parts are those that ``nextclick worker`` builds from its settings, which come from the
environment; the users' pasts are in Redis already.
"""

import argparse
import asyncio
import time
from typing import Any

import numpy as np

from benchmarks.backlog import Crowd
from benchmarks.contender import answer
from benchmarks.made_up import item_ids, made_up_histories
from model.events import Click
from model.items import Item
from serving.execution import Execution
from serving.parts import Parts
from serving.ranker import Ranker
from serving.recommend import recommend
from stream.settings import Settings
from stream.worker import build_parts
from tests.parts import records_of

RECALL_SEED = 11


async def open_parts(settings: Settings, items: int) -> Parts:
    """The parts with their catalogue and popular items, connected."""
    parts = build_parts(settings)
    await parts.store.open()
    for item_id in item_ids(items):
        parts.catalog.put(Item(item_id=item_id, title=item_id, category=("all",)))
    await parts.candidates.refresh_popular()
    return parts


def recall(parts: Parts, length: int, users: int) -> float:
    """Share of the exactly nearest items that the parts' ranker finds, of so many made-up users."""
    if parts.ranker.index is None:
        return 1.0
    exact = Ranker(parts.bundle, Execution("cpu", nearest="exact"))
    histories = made_up_histories(users, length, parts.bundle.vocabulary, seed=RECALL_SEED)
    candidates = np.zeros((users, 1), np.int64)
    theirs, ours = (
        ranker.rank(histories, candidates, parts.catalog.item_bias, None).top_rows
        for ranker in (exact, parts.ranker)
    )
    pairs = zip(theirs, ours, strict=True)
    return float(np.mean([np.isin(one, other).mean() for one, other in pairs]))


class Recommender:
    """Micro-batches of clicks, one after the other."""

    def __init__(self, parts: Parts, crowd: Crowd) -> None:
        self._parts = parts
        self._crowd = crowd
        self._offset = 0

    async def turn(self, batch: int, seconds: float) -> dict[str, Any]:
        """Microseconds of a list, by the clock and of this process's CPU, over so many seconds."""
        lists = 0
        wall = processor = 0.0
        await self._parts.candidates.refresh_popular()  # as a worker does every few seconds
        while not lists or wall < seconds:
            clicks = self._crowd.clicks(batch, first=self._offset)
            now_ms = time.time_ns() // 1_000_000
            records = records_of(
                [
                    Click(event_id=f"e{self._offset + at}", user_id=user, ts=now_ms, item_id=item)
                    for at, (user, item) in enumerate(clicks)
                ],
                first=self._offset,
            )
            self._offset += batch
            begun, before = time.perf_counter(), time.process_time()
            outcome = await recommend(self._parts, records)
            wall += time.perf_counter() - begun
            processor += time.process_time() - before
            lists += len(outcome.lists)
        return {"us": wall / lists * 1e6, "cpu_us": processor / lists * 1e6, "lists": lists}


def main() -> None:
    """Answer what ``benchmarks.scaling`` asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", type=int)
    parser.add_argument("users", type=int)
    parser.add_argument("past_events", type=int)
    asked = parser.parse_args()
    crowd = Crowd(asked.users, asked.items, past_events=asked.past_events)
    with asyncio.Runner() as runner:
        parts = runner.run(open_parts(Settings(), asked.items))
        recommender = Recommender(parts, crowd)

        def handle(recall_of: int = 0, **task: Any) -> dict[str, Any]:
            if recall_of:
                return {"recall": recall(parts, asked.past_events, recall_of)}
            return runner.run(recommender.turn(**task))

        answer(handle)
        runner.run(parts.store.redis.aclose())


if __name__ == "__main__":
    main()
