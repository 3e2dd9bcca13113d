"""Sorted events in batches whose sizes depend on nothing but the events."""

from collections.abc import Iterator, Sequence

from stream.replay.sorted_runs import Events

BATCH = 5_000
"""Events merged in one trip."""
BATCH_BYTES = 8 * 1024 * 1024
"""Of JSON; a usual batch has 1 MB."""


def in_batches(blocks: Iterator[Events], first: int, size: int) -> Iterator[list[bytes]]:
    """The JSON of events behind the first ones, in batches of a size, smaller where it is long."""
    held: list[bytes] = []
    held_bytes = 0
    for events in blocks:
        rows = len(events)
        if first < rows:
            values = events.column("data").slice(first).to_pylist()
            held += values
            held_bytes += sum(map(len, values))
            while len(held) >= size or held_bytes > BATCH_BYTES:
                cut = _fitting(held, size)
                if cut > len(held):
                    break
                yield held[:cut]
                held_bytes -= sum(map(len, held[:cut]))
                del held[:cut]
        first = max(first - rows, 0)
    while held:
        cut = _fitting(held, size)
        yield held[:cut]
        del held[:cut]


def _fitting(values: Sequence[bytes], size: int) -> int:
    """A batch's size: halved until it fits, so that it depends on nothing but what comes next."""
    while size > 1 and sum(map(len, values[:size])) > BATCH_BYTES:
        size //= 2
    return size
