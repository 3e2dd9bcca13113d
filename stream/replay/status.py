"""Which generations there are, and about how large they are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from serving.generations import Generations, Pointer
from serving.store import Store
from stream.replay.stored_keys import number_of_keys, profile_suffix, stored_keys

LOOKED_AT = 200_000
"""Keys of an installation; where there are more, users are estimated from these."""
WEIGHED = 200
"""Profiles of a generation, for the mean size."""


class GenerationState(NamedTuple):
    """A generation."""

    number: int
    role: str
    """``live``, ``previous``, ``building`` or ``kept``."""
    users: int
    is_estimate: bool
    bytes_each: int
    """Mean of some profiles, as Redis allots memory to them."""
    positions: int
    """Parts of sources that are known to be in it up to some place."""
    left: int | None
    """Records that were to be built into it and are not in it yet; None where nothing was noted."""

    def __str__(self) -> str:
        left = "" if self.left is None else f"; {self.left:,} records are still to be built"
        return (
            f"generation {self.number} ({self.role}): {'about ' if self.is_estimate else ''}"
            f"{self.users:,} users, {self.bytes_each:,} bytes each"
            f"{'; complete' if self.left == 0 else left}"
        )


async def states_of(
    store: Store, generations: Generations, looked_at: int = LOOKED_AT
) -> tuple[Pointer, list[GenerationState]]:
    """Every generation, the live one first.

    Args:
        store: of the installation.
        generations: of the installation.
        looked_at: keys, after which users are estimated.

    Raises:
        redis.RedisError: a server is away.
    """
    pointer = await generations.read()
    found: dict[int, int] = dict.fromkeys(pointer.made, 0)
    some: dict[int, list[str]] = {each: [] for each in pointer.made}
    of_suffix = {profile_suffix(each): each for each in pointer.made}
    seen, is_estimate = 0, False
    async for keys in stored_keys(store.redis, f"{store.prefix}:*"):
        seen += len(keys)
        for key in keys:
            generation = of_suffix.get(key[key.rindex(":") :])
            if generation is not None:
                found[generation] += 1
                if len(some[generation]) < WEIGHED:
                    some[generation].append(key)
        if seen >= looked_at:
            is_estimate = True
            break
    share = max(1.0, await number_of_keys(store.redis) / max(seen, 1)) if is_estimate else 1.0
    states = []
    for number in sorted(pointer.made, key=lambda each: (each != pointer.live, each)):
        sizes = [await _memory(store, key) for key in some[number]]
        positions = await generations.positions(number)
        states.append(
            GenerationState(
                number,
                _role(pointer, number),
                round(found[number] * share),
                is_estimate,
                round(sum(sizes) / max(len(sizes), 1)),
                len(positions),
                _left(positions, await generations.expected(number)),
            )
        )
    return pointer, states


def _left(positions: Mapping[str, int], expected: Mapping[str, tuple[int, int]]) -> int | None:
    if not expected:
        return None
    return sum(
        max(end - max(positions.get(part, first), first), 0)
        for part, (first, end) in expected.items()
    )


async def _memory(store: Store, key: str) -> int:
    size: Any = await store.redis.memory_usage(key)
    return int(size or 0)


def _role(pointer: Pointer, number: int) -> str:
    if number == pointer.live:
        return "live"
    if number == pointer.previous:
        return "previous"
    return "building" if number == pointer.building else "kept"
