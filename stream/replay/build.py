"""Past events into a shadow generation: merged and counted in bulk, with checkpoints."""

import asyncio
from collections.abc import Awaitable, Callable

from serving.learning import learn_waves
from serving.parts import Parts
from serving.waves import in_waves
from stream.replay.past import Past, PastBatch, Position


async def build(
    parts: Parts,
    past: Past,
    done: Position,
    *,
    keep: Callable[[Position], Awaitable[None]],
    progress: Callable[[int, int], None] = lambda done, newest: None,
) -> Position:
    """Learn what a source holds behind a position. May be repeated.

    Args:
        parts: of the generation that is built (``Parts.for_past``).
        past: the source.
        done: where it was left.
        keep: stores a position, once all before it is merged and counted.
        progress: called with the number of events done and the newest event time, milliseconds.

    Returns:
        The position at the end.
    """
    position, events = dict(done), 0
    batches = past.batches(done)

    def following() -> PastBatch | None:
        return next(batches, None)

    while (batch := await asyncio.to_thread(following)) is not None:
        await learn_waves(parts, in_waves(batch.decoded, parts.store.source))
        position |= batch.position
        await keep(position)
        events += len(batch.decoded)
        progress(events, batch.newest)
    return position
