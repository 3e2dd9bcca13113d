"""The change to another generation while the stream goes on, and back."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from serving.generations import GenerationError, Generations, Pointer
from serving.parts import Parts
from stream.catch_up import catch_up
from stream.offsets import OffsetReader
from stream.replay.build import build
from stream.replay.build_state import the_builder
from stream.replay.generations import Shadow, Told, opened
from stream.replay.markers import forget_again
from stream.replay.past import Learnt
from stream.replay.topic_past import TopicPast
from stream.settings import Settings

CLOSE_S = 2.0
"""A tail that was built in so short a time leaves little for the workers to catch up with."""

Tail: TypeAlias = Callable[[Settings, Shadow, Told], Awaitable[int]]
"""Brings a generation to about the end of the topics; returns how many events that were."""


class Flip(NamedTuple):
    """What has come of a change to another generation."""

    live: int
    previous: int
    events: int
    """Built in its tail."""
    forgotten: int
    """Users with a forget marker or limit, whose profiles were looked at again."""
    seconds: float


async def cutover(settings: Settings, *, told: Told = lambda line: None) -> Flip:
    """Bring the shadow to the end of all topics that workers read and make it live.

    Raises:
        GenerationError: there is no shadow, or somebody else was quicker.
    """
    async with opened(settings) as (parts, generations):
        pointer = await generations.read()
        if pointer.building is None:
            raise GenerationError(
                "there is no shadow to take into use; build one with `nextclick replay files ... "
                "--into shadow` or `nextclick replay topic ... --into shadow`"
            )
        return await _take_into_use(
            settings, parts, generations, pointer, pointer.building, build_tail, told
        )


async def rollback(settings: Settings, *, told: Told = lambda line: None) -> Flip:
    """Bring the generation that was live before to the end of the topics and make it live again.

    Raises:
        GenerationError: there is none, or somebody else was quicker.
    """
    async with opened(settings) as (parts, generations):
        pointer = await generations.read()
        if pointer.previous is None:
            raise GenerationError(
                f"generation {pointer.live} is live, and no other one was before it, or it was "
                "dropped"
            )
        return await _take_into_use(
            settings, parts, generations, pointer, pointer.previous, live_through_tail, told
        )


async def _take_into_use(
    settings: Settings,
    parts: Parts,
    generations: Generations,
    pointer: Pointer,
    to: int,
    tail: Tail,
    told: Told,
) -> Flip:
    started = time.monotonic()
    shadow = Shadow(parts.for_past(to), generations)
    for topic in settings.source_topics:
        await shadow.know(settings, topic)
    events = await tail(settings, shadow, told)
    told(f"looking again at what was forgotten, in generation {to}")
    forgotten = await forget_again(shadow.parts.store)
    events += await tail(settings, shadow, told)
    while not (flipped := await _flip(settings, shadow, generations, pointer)):
        if flipped is None:
            events += await tail(settings, shadow, told)
            continue
        raise GenerationError(
            "another generation was made live or dropped meanwhile; look with "
            "`nextclick replay status` and begin again"
        )
    return Flip(to, pointer.live, events, forgotten, time.monotonic() - started)


async def _flip(
    settings: Settings, shadow: Shadow, generations: Generations, pointer: Pointer
) -> bool | None:
    """Flip while nobody builds; whoever begins to afterwards is refused by `keep`.

    Returns:
        False where somebody else has flipped, None where a build has broken off meanwhile.
    """
    async with the_builder(shadow.parts.store, shadow.parts.counts) as (_, state):
        if state.step != "done":
            return None
        committed = await _committed(settings, shadow)
        return await generations.flip(pointer, shadow.generation, committed)


async def _committed(settings: Settings, shadow: Shadow) -> dict[str, int]:
    """What the workers have committed, as positions are named in Redis."""
    source, found = shadow.parts.store.source, {}
    async with OffsetReader(settings) as offsets:
        for topic in settings.source_topics:
            places = await offsets.partitions(topic)
            committed = await offsets.committed(settings.group, places)
            for place, at in committed.items():
                found[source(place.topic, place.partition)] = at
    return found


async def build_tail(settings: Settings, shadow: Shadow, told: Told = lambda line: None) -> int:
    """Build what the topics hold behind the shadow's positions, until little is left.

    Returns:
        How many events that were.
    """
    total = 0
    while True:
        began, before = time.monotonic(), total
        for topic in settings.source_topics:
            learnt = 0

            def count(done: Learnt, so_far: int = total) -> None:
                nonlocal learnt
                learnt = done.events
                told(f"{so_far + learnt:,} events of the tail built")

            past = TopicPast(settings, topic, mapping=shadow.parts.mappings.get(topic))
            done = await shadow.positions()
            await build(shadow.parts, past, done, keep=shadow.keep, progress=count)
            total += learnt
        if time.monotonic() - began < CLOSE_S or total == before:
            return total


async def live_through_tail(
    settings: Settings, shadow: Shadow, told: Told = lambda line: None
) -> int:
    """Learn the same as workers do, who may have learnt some of it, or be at it still.

    Returns:
        How many events that were.
    """
    total = 0
    while True:
        began, positions = time.monotonic(), await shadow.positions()
        async with OffsetReader(settings) as offsets:
            every = [await offsets.partitions(topic) for topic in settings.source_topics]
        since = {
            place: positions.get(f"{place.topic}:{place.partition}", 0)
            for places in every
            for place in places
        }
        done = await catch_up(settings, shadow.parts, since, {})
        await shadow.keep(
            {f"{place.topic}:{place.partition}": end for place, end in done.ends.items()}
        )
        total += done.records
        told(f"{total:,} events of the tail learnt")
        if time.monotonic() - began < CLOSE_S or not done.records:
            return total
