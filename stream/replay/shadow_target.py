"""The past -> a shadow set of profiles and counts, by the code that builds the live ones."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.replay.past import Learnt, Past, Position
from stream.settings import Settings


class ShadowReport(NamedTuple):
    """What a build did."""

    generation: int
    events: int
    newest: int
    """Event time of the newest, epoch milliseconds; 0 where there was none."""
    position: dict[str, int]
    """How far each part of the source is in the generation."""


async def into_shadow(
    settings: Settings,
    past: Past,
    topics: Sequence[str] = (),
    *,
    begin: Callable[[Position], None] = lambda done: None,
    progress: Callable[[Learnt], None] = lambda learnt: None,
) -> ShadowReport:
    """Learn a past into the generation that is being built, from where that was left.

    Args:
        settings: of Redis, the bundle and the brokers.
        past: what is learnt.
        topics: that it reads, so that one made anew is told from the one before.
        begin: called with the position where it goes on.
        progress: called now and then with how far it is.

    Raises:
        BrokerError, TopicError, RowsError: the past cannot be read.
        redis.RedisError, serving.store.StoreError: Redis is away.
    """
    from stream.replay.build import build
    from stream.replay.generations import open_shadow

    learnt = Learnt(0, 0, {})

    def note(now: Learnt) -> None:
        nonlocal learnt
        learnt = now
        progress(now)

    async with open_shadow(settings, topics) as shadow:
        await shadow.expect(past.extent())
        done = await shadow.positions()
        begin(done)
        position = await build(shadow.parts, past, done, keep=shadow.keep, progress=note)
        return ShadowReport(shadow.generation, learnt.events, learnt.newest, dict(position))


async def shadow_that_has(settings: Settings, part: str) -> ShadowReport | None:
    """A report of nothing to do, where all of a part of a source is in the shadow; else None.

    Args:
        settings: of Redis and the bundle.
        part: of a source that is no topic.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis is away.
    """
    from stream.replay.generations import Shadow, opened

    async with opened(settings) as (parts, generations):
        building = (await generations.read()).building
        if building is None:
            return None
        shadow = Shadow(parts.for_past(building), generations)
        if not await shadow.is_built(part):
            return None
        return ShadowReport(building, 0, 0, await shadow.positions())
