"""Workers that follow generations, step by step: over a real topic and Redis, without Faust."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from model.events import Event, encode_event
from serving.generations import Generations
from serving.intake import decode
from serving.learning import learn
from serving.parts import Parts
from serving.store import Store
from stream.assignment import Assignment
from stream.generation_switch import GenerationSwitch
from stream.readiness import Readiness
from stream.replay.compare import Comparing
from stream.replay.comparison import Comparison
from stream.replay.generations import learning_parts
from stream.settings import Settings
from stream.topic_identity import topic_identity
from tests.kafka_log import read, write
from tests.parts import NOW

LONE = 99
"""The generation of a worker that has lived through everything alone."""


class Killed(BaseException):
    """What ends a worker in the middle of its work."""


class MortalStore(Store):
    """Kills its worker when so many trips are made, in whatever generation."""

    trips_left: list[int]
    """One number, or none for a long life; shared by the stores of all generations."""

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if calls and self.trips_left:
            if self.trips_left[0] == 0:
                raise Killed
            self.trips_left[0] -= 1
        return await super().run(calls)


class GivenAssignment(Assignment):
    """An assignment that the test gives, in place of Faust."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 1
        self.positions: dict[TopicPartition, int] = {}

    @property
    def number(self) -> int:
        return self.given

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]


class SteppedWorker:
    """Learns what it is told to, from the partitions that it has."""

    def __init__(self, settings: Settings, parts: Parts, log: dict[int, list[Any]]) -> None:
        self.assignment = GivenAssignment()
        self.switch = GenerationSwitch(settings, parts, Readiness(), self.assignment)
        self._topic = settings.events_topic
        self._log = log

    def assign(self, positions: dict[int, int]) -> None:
        """A rebalance: by partition the offset that is committed."""
        self.assignment.given += 1
        self.assignment.positions = {
            TopicPartition(self._topic, number): at for number, at in positions.items()
        }
        self.assignment.partitions = frozenset(self.assignment.positions)

    async def learn(self, partition: int, until: int) -> None:
        """Learn the partition from where the worker is to an offset, as one micro-batch."""
        place = TopicPartition(self._topic, partition)
        records = self._log[partition][self.assignment.positions[place] : until]
        # As Faust's consumer: it is behind what it has handed over.
        self.assignment.positions[place] = until
        async with self.switch.learning(self.assignment.number, [place]) as parts:
            decoded, dead = decode(records, NOW)
            assert not dead
            await learn(parts, decoded)


class Switching:
    """A topic that is written, workers, and what their generations have come to."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.settings = settings
        self.parts = parts
        self.generations = Generations(parts.store)
        self.log: dict[int, list[Any]] = {}

    async def write(self, partitions: dict[int, Sequence[Event]]) -> None:
        """Append events to the topic."""
        topic = self.settings.events_topic
        values = {
            number: [encode_event(each) for each in own] for number, own in partitions.items()
        }
        await write(self.settings.brokers, topic, values)
        for number, records in (await read(self.settings.brokers, topic)).items():
            self.log[number] = records

    async def worker(self, positions: dict[int, int], *, trips: int = 0) -> SteppedWorker:
        """A worker that has just been assigned partitions, at committed offsets.

        Args:
            positions: offsets, by partition.
            trips: to Redis, after which it is killed; 0 for a long life.
        """
        parts = self.parts.of_generation(0)
        parts.store.trips_left = [trips] if trips else []  # type: ignore[attr-defined]
        worker = SteppedWorker(self.settings, parts, self.log)
        await worker.switch.open()
        worker.assign(positions)
        return worker

    async def flip(self, to: int) -> None:
        """Make a generation live; nothing is committed as far as anybody knows."""
        assert await self.generations.flip(await self.generations.read(), to, {})

    async def compared(self, generation: int) -> Comparison:
        """A generation beside that of somebody who has lived through the whole topic alone."""
        lone, one = self.parts.for_past(LONE), self.parts.for_past(generation)
        for records in self.log.values():
            decoded, _ = decode(records, NOW)
            await learn(lone, decoded)
        return await Comparing((one.store, one.counts), (lone.store, lone.counts)).all()

    async def assert_lived_through(self, generation: int) -> None:
        """Nothing is lost, nothing doubled."""
        found = await self.compared(generation)
        assert found.profiles_equal and found.counts_equal
        assert found.is_equal, found


@asynccontextmanager
async def switching(settings: Settings) -> AsyncIterator[Switching]:
    """Over an empty Redis and a topic of the settings that exists."""
    parts = learning_parts(settings)
    object.__setattr__(parts, "now_ms", lambda: NOW)
    parts.store.__class__ = MortalStore
    parts.store.trips_left = []  # type: ignore[attr-defined]
    topic = settings.events_topic
    try:
        await parts.store.open()
        parts.store.topic_identities[topic] = await topic_identity(settings, topic)
        yield Switching(settings, parts)
    finally:
        await parts.store.redis.aclose()
