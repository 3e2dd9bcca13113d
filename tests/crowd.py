"""Users who click while things break, and what the stream must have come to afterwards."""

import asyncio
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from model.events import Click, encode_event
from model.items import encode_item
from serving.generations import Generations
from serving.profile import pack_interaction, profile_of
from serving.recommendation import Recommendation, decode_recommendation
from serving.store import Store
from stream.kafka import producer_arguments
from stream.redis_client import redis_client
from stream.settings import Settings
from stream.worker_process import WorkerProcess
from tests.kafka_log import committed, read
from tests.shop import ITEMS
from tests.tiny import tiny_bundle

DAY_MS = 86_400_000
GUARD_S = 120.0
Place = tuple[int, int]
"""Partition and offset of a record of the events topic."""


@contextmanager
def fleet(settings: Settings, folder: Path, count: int) -> Iterator[list[WorkerProcess]]:
    """Workers with a bundle, a catalogue and their partitions; what is in the list is stopped.

    Unlike a ``Shop`` it holds no Kafka client that minds a broker's death.
    """
    if not settings.bundle.exists():
        tiny_bundle(settings.bundle, [item.item_id for item in ITEMS])
    asyncio.run(_write_catalog(settings))
    workers: list[WorkerProcess] = []
    try:
        for number in range(count):
            workers.append(start_worker(settings, folder, f"worker-{number}"))
        for worker in workers:
            worker.wait_ready()
        yield workers
        for worker in workers:
            worker.refuse_death()
    finally:
        for worker in workers:
            worker.request_stop()
        statuses = [worker.stop() for worker in workers]
    assert not any(statuses), f"workers ended with {statuses}; see {folder}"


async def _write_catalog(settings: Settings) -> None:
    async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
        for item in ITEMS:
            await producer.send_and_wait(
                settings.catalog_topic, encode_item(item), key=item.item_id.encode()
            )


def start_worker(settings: Settings, folder: Path, name: str) -> WorkerProcess:
    """Start a worker whose log is ``<folder>/<name>.log`` and return at once."""
    worker = WorkerProcess(settings, name, folder / f"{name}.log")
    worker.start()
    return worker


class Crowd:
    """An async context manager; `bootstrap` is where the test itself reaches the broker."""

    def __init__(self, settings: Settings, users: int = 24) -> None:
        self.settings = settings
        self.users = [f"user-{number}" for number in range(users)]
        self.clicks: dict[Place, Click] = {}
        self._serial = 0
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**producer_arguments(self.settings))
        await self._producer.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._producer is not None
        await self._producer.stop()

    async def click(self, count: int = 1) -> list[Place]:
        """A click of each user, `count` times; returns where they stand once all are stored."""
        assert self._producer is not None
        clicks = [self._next(user) for _ in range(count) for user in self.users]
        sent = [
            await self._producer.send(
                self.settings.events_topic, encode_event(click), key=click.user_id.encode()
            )
            for click in clicks
        ]
        places = [(told.partition, told.offset) for told in await asyncio.gather(*sent)]
        self.clicks.update(zip(places, clicks, strict=True))
        return places

    async def click_on(self, stop: asyncio.Event, pause_s: float = 0.05) -> None:
        """A click of each user and a pause, until `stop`; waits for a broker that is away."""
        while not stop.is_set():
            await self.click()
            await asyncio.sleep(pause_s)

    async def lists(self) -> list[Recommendation]:
        """Every list in the topic; those of one user in the order written."""
        found = await read(self.settings.brokers, self.settings.recommendations_topic)
        return [decode_recommendation(each.value) for part in found.values() for each in part]

    async def served(self, places: Sequence[Place] | None = None) -> None:
        """Return once each of these clicks, or all, is committed; raise TimeoutError otherwise."""
        wanted: dict[int, int] = defaultdict(int)
        for partition, offset in self.clicks if places is None else places:
            wanted[partition] = max(wanted[partition], offset + 1)
        topic = self.settings.events_topic
        async with asyncio.timeout(GUARD_S):
            while True:
                try:
                    done = await committed(self.settings.brokers, self.settings.group, topic)
                except KafkaError:
                    done = {}
                if all(done.get(partition, 0) >= end for partition, end in wanted.items()):
                    return
                await asyncio.sleep(0.2)

    async def assert_right(self) -> None:
        """Nothing lost, nothing doubled: profiles, lists and last lists are what they must be."""
        lists = await self.lists()
        newest: dict[str, Recommendation] = {}
        for each in lists:
            known = newest.get(each.user_id)
            if known is None or each.as_of.offset >= known.as_of.offset:
                newest[each.user_id] = each
        for (partition, offset), click in self.clicks.items():
            found = newest.get(click.user_id)
            assert found is not None, f"{click.user_id} has no list"
            assert found.as_of.partition == partition
            assert found.as_of.offset >= offset, f"no list covers {partition}:{offset}"
        store = Store(
            redis_client(self.settings),
            prefix=self.settings.redis_prefix,
            profile_ttl_ms=30 * DAY_MS,
            list_ttl_ms=3 * DAY_MS,
        )
        store = store.of_generation((await Generations(store).read()).live)
        try:
            for user in self.users:
                own = [click for click in self.clicks.values() if click.user_id == user]
                oracle = profile_of([pack_interaction(click) for click in own], [])
                assert (await store.profile(user)).pack() == oracle.pack(), user
                last = await store.last_list(user)
                assert last is not None
                assert last.as_of == newest[user].as_of, f"{user}: a newer list was overwritten"
        finally:
            await store.redis.aclose()

    def _next(self, user: str) -> Click:
        self._serial += 1
        item = ITEMS[self._serial % len(ITEMS)].item_id
        return Click(
            event_id=f"{self._serial}", user_id=user, ts=time.time_ns() // 1_000_000, item_id=item
        )


def assert_in_order(lists: Sequence[Recommendation]) -> None:
    """No user got an older list for the first time after a newer one."""
    newest: dict[str, int] = {}
    seen: set[str] = set()
    for each in lists:
        if each.rec_id not in seen:
            seen.add(each.rec_id)
            assert each.as_of.offset > newest.get(each.user_id, -1), each.user_id
            newest[each.user_id] = each.as_of.offset


async def commits(settings: Settings) -> dict[int, list[int]]:
    """Every offset that the group has committed, by partition, in the order of the commits."""
    found: dict[int, list[int]] = defaultdict(list)
    for records in (await read(settings.brokers, "__consumer_offsets")).values():
        for record in records:
            if record.value is None or (place := _committed_place(record.key)) is None:
                continue
            group, topic, partition = place
            if (group, topic) == (settings.group, settings.events_topic):
                found[partition].append(struct.unpack_from(">q", record.value, 2)[0])
    return found


def _committed_place(key: bytes) -> tuple[str, str, int] | None:
    """Group, topic and partition of a record of ``__consumer_offsets``; None for a member's."""
    version, size = struct.unpack_from(">hh", key)
    if version > 1:
        return None
    group = key[4 : 4 + size].decode()
    (length,) = struct.unpack_from(">h", key, 4 + size)
    topic = key[6 + size : 6 + size + length].decode()
    return group, topic, struct.unpack_from(">i", key, 6 + size + length)[0]
