"""A worker that follows which generation of profiles and counts is live.

A flip names the positions of the generation that it makes live: below them all is in it. The worker
looks once a second, and whenever it is assigned partitions before their first record. Where another
generation is live it stops learning, learns what lies between those positions and its own place in
each partition (no lists: they were made), notes that the partition is entered, and goes on with the
new one. Nothing is lost, wherever it breaks off: who takes the partition up next finds it not
entered and does the same again, and each step may be repeated.

What other workers do meanwhile with the generation that was live is of no concern: their records
come before their places, or come again to whoever has the partition next.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from serving import metrics
from serving.generations import Generations, Pointer
from serving.parts import Parts
from stream.assignment import Assignment
from stream.catch_up import catch_up
from stream.readiness import Part, Readiness, wait_out
from stream.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S = 1.0
POSITION_S = 2.0
WAITER = "generation"


class GenerationSwitch:
    """Hands out the parts of the generation that is live.

    Args:
        settings: of the brokers.
        parts: of any generation, of which the others are made.
        readiness: where a wait is told.
        assignment: of this worker.
    """

    def __init__(
        self, settings: Settings, parts: Parts, readiness: Readiness, assignment: Assignment
    ) -> None:
        self.parts = parts
        self._settings = settings
        self._readiness = readiness
        self._assignment = assignment
        self._generations = Generations(parts.store)
        self._gate = asyncio.Lock()
        """Held while records are learnt, and while another generation is taken up."""
        self._epoch = -1
        self._number = -1
        self._entered: frozenset[TopicPartition] = frozenset()

    async def open(self) -> None:
        """Begin with the live generation. Raises redis.RedisError, StoreError."""
        pointer = await self._generations.read()
        self.parts = self._parts_of(pointer.live)
        metrics.GENERATION.set(pointer.live)
        await self.parts.store.open()
        await _tell_of_counts_behind(self.parts)

    @asynccontextmanager
    async def learning(
        self, number: int, partitions: Collection[TopicPartition]
    ) -> AsyncIterator[Parts]:
        """The parts to learn records of these partitions into; none is switched meanwhile.

        Args:
            number: of the assignment in which the records came.
            partitions: of the records.
        """
        async with self._gate:
            if number != self._number or not self._entered.issuperset(partitions):
                await self._waiting_out(number, partitions)
            yield self.parts

    async def look(self) -> None:
        """Take up what is live, if it is another generation, or if partitions have come."""
        pointer = await self._generations.read()
        number, partitions = self._assignment.number, self._assignment.partitions
        if (pointer.epoch, number) == (self._epoch, self._number) and partitions <= self._entered:
            return
        async with self._gate:
            await self._waiting_out(number, ())

    async def _waiting_out(self, number: int, partitions: Collection[TopicPartition]) -> None:
        await wait_out(
            self._readiness, WAITER, lambda: self._take_up(number, partitions), Part.REDIS
        )

    async def _take_up(self, number: int, partitions: Collection[TopicPartition]) -> None:
        wanted = self._assignment.partitions | frozenset(partitions)
        while True:
            pointer = await self._generations.read()
            # Nothing lies behind the first generation of all: it was lived through.
            if pointer.epoch == 0 or await self._enter(pointer, wanted):
                break
        if pointer.live != self.parts.store.generation:
            parts = self._parts_of(pointer.live)
            await parts.candidates.refresh_popular()
            await _tell_of_counts_behind(parts)
            logger.warning("generation %d of profiles and counts is live", pointer.live)
            self.parts = parts
            metrics.GENERATION.set(pointer.live)
        self._epoch, self._number, self._entered = pointer.epoch, number, wanted

    async def _enter(self, pointer: Pointer, wanted: Collection[TopicPartition]) -> bool:
        """Bring the live generation to where this worker is; False where it is live no more."""
        source, live = self.parts.store.source, pointer.live
        entered = await self._generations.entered(live)
        strange = {
            place: name
            for place in wanted
            if (name := source(place.topic, place.partition)) not in entered
        }
        if not strange:
            return True
        positions = await self._generations.positions(live)
        since = {place: positions.get(name, 0) for place, name in strange.items()}
        until = {place: at for place in strange if (at := await self._position(place)) is not None}
        # Not those of `self.parts`: while this is under way nothing may be in hand of both.
        parts, moved = self.parts.for_past(live), self._readiness.end_attempt
        done = await catch_up(self._settings, parts, since, until, moved)
        logger.info("%d records learnt into generation %d", done.records, live)
        return await self._generations.enter(pointer, strange.values())

    async def _position(self, place: TopicPartition) -> int | None:
        """Where the worker is; None where that cannot be told, and the topic's end will do: it
        only takes longer, for what is learnt twice counts once."""
        try:
            async with asyncio.timeout(POSITION_S):
                return await self._assignment.position(place)
        except (KafkaError, TimeoutError):
            return None

    def _parts_of(self, generation: int) -> Parts:
        if generation == self.parts.store.generation:
            return self.parts
        return self.parts.of_generation(generation)


async def _tell_of_counts_behind(parts: Parts) -> None:
    """Raises redis.RedisError."""
    if await parts.counts.are_behind():
        logger.warning(
            "generation %d has counts that an earlier version made and this one cannot read; "
            "it counts from nothing: build a generation anew from the past, take it into use, "
            "and drop this one (docs/durability.md, Rolling upgrade)",
            parts.store.generation,
        )
