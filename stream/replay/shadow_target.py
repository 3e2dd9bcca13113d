"""The past -> a shadow generation of profiles and counts, by the code that builds the live ones."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.replay.past import Past, Position
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
    progress: Callable[[int, int], None] = lambda done, newest: None,
) -> ShadowReport:
    """Learn a past into the generation that is being built, from where that was left.

    Args:
        settings: of Redis, the bundle and the brokers.
        past: what is learnt.
        topics: that it reads, so that one made anew is told from the one before.
        begin: called with the position where it goes on.
        progress: called with the number of events done and the newest event time.

    Raises:
        BrokerError, TopicError, RowsError: the past cannot be read.
        redis.RedisError, serving.store.StoreError: Redis is away.
    """
    from stream.replay.build import build
    from stream.replay.generations import open_shadow

    events = newest = 0

    def note(done: int, newest_ms: int) -> None:
        nonlocal events, newest
        events, newest = done, newest_ms
        progress(done, newest_ms)

    async with open_shadow(settings, topics) as shadow:
        done = await shadow.positions()
        begin(done)
        position = await build(shadow.parts, past, done, keep=shadow.keep, progress=note)
        return ShadowReport(shadow.generation, events, newest, dict(position))
