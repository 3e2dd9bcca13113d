"""A worker that learns from records over Redis and repeats what fails, as agents do."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
from redis.exceptions import RedisError

from model.bundle import Bundle
from model.features import Vocabulary
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.counts import Counts
from serving.functions import FunctionLibrary
from serving.intake import decode
from serving.learning import learn
from serving.parts import Parts
from serving.profile import VERSION
from serving.ranker import Ranker
from serving.round_trip import Acknowledgement, Durability
from serving.store import Store, StoreError
from stream.embedded import say
from stream.redis_client import redis_client
from stream.settings import Settings
from tests.parts import DAY_MS, HOUR_MS, NOW, FakeRecord

BATCH = 50
SHARDS = 8
REDIS_TIMEOUT_S = 3.0
PATIENT_S = 60.0
"""Likewise where no server fails: a stall of a busy machine is no fault."""
WAIT_MS = 500
"""What a write waits for its replica or the disk, well above what either takes."""


class LearningWorker:
    """Learns batch after batch, repeats each until it is done, and acknowledges it then."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.acknowledged: list[FakeRecord] = []
        self.faults: Counter[str] = Counter()
        """How often batches had to be repeated, by the error's name."""

    async def try_batch(self, records: Sequence[FakeRecord]) -> None:
        """Learn a micro-batch once; raises what `learn` raises."""
        decoded, dead = decode(records, NOW)
        assert not dead
        await learn(self.parts, decoded)
        self.acknowledged += records

    async def work(
        self, records: Sequence[FakeRecord], *, may_go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Learn all records, in order, each batch until it is done; stop where told to."""
        for at in range(0, len(records), BATCH):
            while may_go_on():
                try:
                    await self.try_batch(records[at : at + BATCH])
                    break
                except (RedisError, StoreError, OSError, TimeoutError) as error:
                    self.faults[type(error).__name__] += 1
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def learning_worker(
    url: str,
    *,
    prefix: str,
    durability: Durability = "none",
    replicas: int = 1,
    functions: FunctionLibrary | None = None,
    timeout_s: float = REDIS_TIMEOUT_S,
) -> AsyncIterator[LearningWorker]:
    """A worker with a client of its own, as the product makes it, closed at the end."""
    redis = redis_client(Settings(redis_url=url, redis_timeout_s=timeout_s))
    store = Store(
        redis,
        prefix=prefix,
        profile_ttl_ms=30 * DAY_MS,
        list_ttl_ms=3 * DAY_MS,
        acknowledgement=Acknowledgement(durability, replicas, WAIT_MS),
        functions=functions,
    )
    catalog = Catalog(Vocabulary([]))
    counts = Counts(store, shards=SHARDS, half_life_days=14)
    unused: Any = None
    try:
        await store.open()
        yield LearningWorker(
            Parts(
                bundle=cast(Bundle, unused),
                catalog=catalog,
                store=store,
                counts=counts,
                candidates=CandidateSources(catalog, counts, repeat_half_life_days=60),
                ranker=cast(Ranker, unused),
                list_length=10,
                max_event_age_ms=HOUR_MS,
                publish_replayed=False,
                now_ms=lambda: NOW,
            )
        )
    finally:
        await redis.aclose()


async def serve_standard_input(url: str, prefix: str, partitions: Path) -> None:
    """Be a worker in a process of its own, of whichever version of nextclick lies around it.

    A line of standard input names a partition and the first and the last offset of a micro-batch;
    the answer is ``done`` or the error that it raised. The first line out is ``ready FORMAT``.
    """
    log = msgspec.msgpack.decode(partitions.read_bytes(), type=list[list[FakeRecord]])
    async with learning_worker(url, prefix=prefix, timeout_s=PATIENT_S) as worker:
        say("ready", str(VERSION))
        while line := await asyncio.to_thread(sys.stdin.readline):
            partition, first, last = map(int, line.split())
            try:
                await worker.try_batch(log[partition][first : last + 1])
            except (RedisError, StoreError) as error:
                say(type(error).__name__, str(error))
            else:
                say("done")


if __name__ == "__main__":
    asyncio.run(serve_standard_input(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
