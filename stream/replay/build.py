"""The past -> a generation of profiles and shared counts: what living through it would have left.

Events are taken in epochs. What is new in an epoch is found out, and counted, while no profile has
changed; then profiles are written, then the position is kept. Which step is reached is noted in
Redis beside what the epoch is of, and shards remember the newest epoch that they have counted: a
build that was killed anywhere goes on there, with the same result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import msgspec

from serving.count_sums import parts_for
from serving.intake import Decoded
from serving.learning import learn_waves
from serving.parts import Parts
from serving.past_events import PastEvents
from serving.past_learning import counts_of, held_profiles, past_profiles, write_profiles
from serving.waves import in_waves
from stream.interpreter import switch_soon
from stream.replay.build_state import Builder, BuildError, BuildState, Step, the_builder
from stream.replay.freed_memory import return_freed_blocks
from stream.replay.past import Learnt, Past, PastBatch, Position
from stream.replay.read_ahead import ReadAhead, read_ahead

__all__ = ["BuildError", "build"]

MOST_EVENTS = 160_000
"""Of an epoch: the more, the fewer times a profile is written and a pair is added."""
MOST_PAIRS = 1_000_000
"""Of an epoch: at most 100 MB of sums; usual sessions make half as many of so many events."""
MOST_USERS = 40_000
"""Of an epoch: at most 200 MB of profiles."""
WAVES_AT_ONCE = 5_000
"""Events that are learnt one wave after the other, cut into waves together."""

Keep = Callable[[Position], Awaitable[None]]


async def kept_nowhere(position: Position) -> None:
    """For builds that nobody goes on with."""


@dataclass
class Epoch:
    """Events on their way, and where they came from."""

    events: PastEvents
    begin: Position
    end: Position
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of each topic and partition the last offset."""
    newest: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be learnt now."""
        events = self.events
        return (
            events.taken >= MOST_EVENTS
            or events.pairs >= MOST_PAIRS
            or len(events.users) >= MOST_USERS
            or events.has_forget
        )

    def take(self, batch: PastBatch) -> None:
        """Add events."""
        self.events.take(batch.decoded)
        records = [each.record for each in batch.decoded]
        self.last.update({(each.topic, each.partition): each.offset for each in records})
        self.end, self.newest = batch.position, max(self.newest, batch.newest)


async def build(
    parts: Parts,
    past: Past,
    done: Position,
    *,
    keep: Keep = kept_nowhere,
    progress: Callable[[Learnt], None] = lambda learnt: None,
    count: bool = True,
) -> Position:
    """Learn all events behind a position. May be repeated: the same profiles and counts come out.

    Args:
        parts: of the generation that is built, which nobody else writes.
        past: where the events come from.
        done: how far its events are learnt; empty for none.
        keep: stores a position, once all before it is learnt.
        progress: called after each epoch.
        count: add what is new to the shared counts too. After a few half lives an event weighs
            nothing there.

    Returns:
        The position behind the last event.

    Raises:
        BuildError: another build is at work, or one of another source has not come to its end, or
            an earlier version has begun the generation.
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
        What ``past.batches`` raises.
    """
    if count and await parts.counts.are_behind():
        # Profiles know these events: what of them is counted cannot be read, nor counted again.
        raise BuildError(
            "an earlier version has begun this generation, with counts that this one cannot read; "
            "drop this generation (`nextclick replay drop`) and build another one from the past"
        )
    return_freed_blocks()
    switch_soon()
    async with (
        the_builder(parts.store, parts.counts) as (builder, state),
        read_ahead(past, done) as reading,
    ):
        # Before anything is counted: nothing may be built into what is live by now.
        await keep(done)
        return await _Build(parts, builder, state, keep, progress, count).run(reading, done)


class _Build:
    """One run of a build."""

    def __init__(
        self,
        parts: Parts,
        builder: Builder,
        state: BuildState,
        keep: Keep,
        progress: Callable[[Learnt], None],
        count: bool,
    ) -> None:
        self._parts = parts
        self._builder = builder
        self._state = state
        self._keep = keep
        self._progress = progress
        self._count = count
        self._learnt = self._newest = 0
        self._learning: asyncio.Task[None] | None = None
        self._is_adding = asyncio.Event()
        """Set from when the epoch that is learnt is mostly the work of Redis."""

    async def run(self, reading: ReadAhead, done: Position) -> Position:
        """Learn epoch after epoch; one is gathered while the one before it is learnt."""
        epoch = self._epoch(done)
        if _is_open(self._state, done):
            epoch = await self._finish(reading, done)
        elif self._state.step != "done":
            # Its position is kept, and only that it is done could not be noted.
            await self._step("done")
        try:
            # Epochs are cut by what is read alone: the same ones, however slow it is.
            while (batch := await reading.next()) is not None:
                # Beside the loop, which is to send and read at once what goes to Redis and back.
                await asyncio.to_thread(epoch.take, batch)
                if epoch.is_full:
                    epoch = await self._hand_over(epoch)
            await self._hand_over(epoch)
            await self._settle()
        finally:
            if self._learning is not None:
                self._learning.cancel()
                await asyncio.gather(self._learning, return_exceptions=True)
        return epoch.end

    async def _hand_over(self, epoch: Epoch) -> Epoch:
        """Have an epoch learnt when the one before it is; returns an empty one to go on with."""
        await self._settle()
        self._is_adding.clear()
        self._learning = asyncio.create_task(self._learn(epoch))
        # Until then the work is this process's own, and two of it at once gain nothing.
        await self._is_adding.wait()
        return self._epoch(epoch.end)

    async def _settle(self) -> None:
        if self._learning is not None:
            await self._learning
        self._learning = None

    def _epoch(self, begin: Position) -> Epoch:
        by_country = self._count and self._parts.counts.by_country
        return Epoch(PastEvents(by_country=by_country), begin, begin)

    async def _finish(self, reading: ReadAhead, done: Position) -> Epoch:
        """Read the very events of the epoch that broke off, and learn them; returns the next one
        with what was read beyond."""
        state = self._state
        last = {(topic, partition): offset for topic, partition, offset in state.last}
        epoch, beyond = self._epoch(state.begin), self._epoch(state.end)
        while epoch.last != last:
            batch = await reading.next()
            if batch is None or not state.end.keys() <= batch.position.keys():
                raise BuildError(
                    "a build of another source, or of other places of it, broke off here "
                    f"({_told(state.begin)} to {_told(state.end)}); run that one again until it "
                    "ends, or drop this generation"
                )
            is_of_it = [
                each.record.offset <= last.get((each.record.topic, each.record.partition), -1)
                for each in batch.decoded
            ]
            epoch.take(batch._replace(decoded=list(compress(batch.decoded, is_of_it))))
            others = [
                each for each, is_mine in zip(batch.decoded, is_of_it, strict=True) if not is_mine
            ]
            beyond.take(batch._replace(decoded=others))
        epoch.end = state.end
        await self._learn(epoch, state)
        return beyond

    async def _learn(self, epoch: Epoch, open_state: BuildState | None = None) -> None:
        """One epoch from begin to end, or the rest of one that broke off."""
        try:
            await self._learn_in_steps(epoch, open_state)
        finally:
            self._is_adding.set()

    async def _learn_in_steps(self, epoch: Epoch, open_state: BuildState | None) -> None:
        parts, events = self._parts, epoch.events
        if events.taken:
            held = await held_profiles(parts.store, list(events.users))
            changes = await asyncio.to_thread(past_profiles, events, held)
            if self._count and (open_state is None or open_state.step == "counting"):
                counted = await asyncio.to_thread(counts_of, events, changes, parts.counts)
                if open_state is None:
                    await self._note(
                        epoch, "counting", parts_for(counted, parts.counts.sets.shards)
                    )
                self._is_adding.set()
                await parts.counts.add_sums(self._state.epoch, counted, self._state.parts)
                await self._step("writing")
            elif open_state is None:
                await self._note(epoch, "writing", 1)
            self._is_adding.set()
            await write_profiles(parts, changes)
            await self._learn_apart(events.apart)
        if epoch.end != epoch.begin:
            await self._keep(epoch.end)
        if events.taken:
            await self._step("done")
        self._learnt += events.taken
        self._newest = max(self._newest, epoch.newest)  # the last epoch may be empty
        self._progress(Learnt(self._learnt, self._newest, epoch.end))

    async def _learn_apart(self, decoded: Sequence[Decoded]) -> None:
        for start in range(0, len(decoded), WAVES_AT_ONCE):
            some = decoded[start : start + WAVES_AT_ONCE]
            waves = in_waves(some, self._parts.store.source)
            await learn_waves(self._parts, waves, count=self._count)

    async def _note(self, epoch: Epoch, step: Step, parts: int) -> None:
        last = tuple((topic, partition, at) for (topic, partition), at in epoch.last.items())
        number = self._state.epoch + 1
        self._state = BuildState(number, step, epoch.begin, epoch.end, last, parts)
        await self._builder.note(self._state)

    async def _step(self, step: Step) -> None:
        self._state = msgspec.structs.replace(self._state, step=step)
        await self._builder.note(self._state)


def _is_open(state: BuildState, done: Position) -> bool:
    """Whether an epoch broke off. Raises BuildError unless it follows upon this position."""
    if state.step == "done" or all(done.get(part, 0) >= at for part, at in state.end.items()):
        return False
    if any(done.get(part, 0) != state.begin.get(part, 0) for part in state.end):
        raise BuildError(
            f"a build broke off here between {_told(state.begin)} and {_told(state.end)}; it has "
            f"to go on from the first of them and not from {_told(done)}: run the same command "
            "again, or drop this generation"
        )
    return True


def _told(position: Position) -> str:
    return ", ".join(f"{part} {at:,}" for part, at in position.items()) or "the very beginning"
