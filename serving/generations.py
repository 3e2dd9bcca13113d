"""Which generation of profiles and counts is live, and how far each of them has come.

A *generation* is a whole set of profiles and shared counts. One is live; another may be built
beside it, a shadow, by the same code from the past; the one that was live before stays until it is
dropped.

All of it lies in one hash slot, so that every change is one atomic step::

    PREFIX:{generations}              epoch, live, previous, building, newest, made.G
    PREFIX:{generations}:positions.G  by part of a source: all below is merged and counted in G
    PREFIX:{generations}:extents.G    by part of a source: FIRST:END of what was to be built into G
    PREFIX:{generations}:entered.G    the partitions that workers have taken up since its flip

A *flip* makes another generation live and counts the epochs. From then on nobody may move the
positions of the live generation: below them all is in it, and a worker that takes up a partition
catches up from there (``stream.generation_switch``). The positions of the one that was live become
what its workers had committed: from there it is brought up to date before it is taken back.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from serving.parts import Parts
from serving.round_trip import Acknowledgement, round_trip
from serving.store import Store

FIRST = 0
"""The generation that is live where nobody has ever made another."""

_BEGIN = """
local held = redis.call('HGET', KEYS[1], 'building')
if held then return tonumber(held) end
local newest = math.max(tonumber(redis.call('HGET', KEYS[1], 'newest') or 0),
  tonumber(redis.call('HGET', KEYS[1], 'live') or 0)) + 1
redis.call('HSET', KEYS[1], 'newest', newest, 'building', newest, 'made.' .. newest, 1)
return newest
"""
_KEEP = """
if (redis.call('HGET', KEYS[1], 'live') or '0') == ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[1], 'made.' .. ARGV[1]) == 0 then return -1 end
for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
return 1
"""
_EXPECT = """
if redis.call('HEXISTS', KEYS[1], 'made.' .. ARGV[1]) == 0 then return 0 end
for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
return 1
"""
_FLIP = """
local epoch = redis.call('HGET', KEYS[1], 'epoch') or '0'
if redis.call('HGET', KEYS[1], 'flip') == ARGV[3] then
  -- Made before, and the answer was lost. A WAIT behind it waits only where something was written.
  redis.call('HSET', KEYS[1], 'flip', ARGV[3])
  return 1
end
if epoch ~= ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[1], 'made.' .. ARGV[2]) == 0 then return 0 end
local live = redis.call('HGET', KEYS[1], 'live') or '0'
if live == ARGV[2] then return 0 end
for at = 4, #ARGV, 2 do
  if epoch == '0' or redis.call('HEXISTS', KEYS[3], ARGV[at]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  end
end
redis.call('DEL', KEYS[4])
if redis.call('HGET', KEYS[1], 'building') == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'building')
end
redis.call('HSET', KEYS[1], 'epoch', tonumber(epoch) + 1, 'live', ARGV[2], 'previous', live,
  'made.' .. live, 1, 'flip', ARGV[3])
return 1
"""
_ENTER = """
if (redis.call('HGET', KEYS[1], 'epoch') or '0') ~= ARGV[1] then return 0 end
for at = 2, #ARGV do redis.call('HSET', KEYS[2], ARGV[at], 1) end
return 1
"""
_REMOVE = """
if (redis.call('HGET', KEYS[1], 'live') or '0') == ARGV[1] then return 0 end
for _, name in ipairs({'building', 'previous'}) do
  if redis.call('HGET', KEYS[1], name) == ARGV[1] then redis.call('HDEL', KEYS[1], name) end
end
redis.call('HDEL', KEYS[1], 'made.' .. ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
return 1
"""


class GenerationError(RuntimeError):
    """A generation is not what it has to be for this; the message says what to do."""


def is_live_error(generation: int) -> GenerationError:
    """Why a generation is not to be dropped."""
    return GenerationError(
        f"generation {generation} is live; take another one into use first, with "
        "`nextclick replay cutover` or `nextclick replay rollback`"
    )


class Pointer(NamedTuple):
    """Which generations there are."""

    epoch: int = 0
    """How often another one was made live."""
    live: int = FIRST
    previous: int | None = None
    """Live before; None where there was none, or it was dropped."""
    building: int | None = None
    """The shadow."""
    made: frozenset[int] = frozenset({FIRST})
    """All that hold profiles and counts."""

    def told(self) -> str:
        """Those that there are, for a person."""
        return ", ".join(map(str, sorted(self.made)))


class Generations:
    """The generations of an installation.

    Args:
        store: any of the installation; its generation makes no difference.
    """

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._acknowledgement = store.acknowledgement
        self._key = f"{store.prefix}:{{generations}}"

    def _positions(self, generation: int) -> str:
        return f"{self._key}:positions.{generation}"

    def _entered(self, generation: int) -> str:
        return f"{self._key}:entered.{generation}"

    def _extents(self, generation: int) -> str:
        return f"{self._key}:extents.{generation}"

    async def _run(self, script: str, keys: list[str], *arguments: Any, reads: bool = False) -> Any:
        """One atomic step, routed by its keys; what it writes is as durable as a profile: a flip
        that a failover loses would hurt."""
        command = ("EVAL_RO" if reads else "EVAL", script, len(keys), *keys, *arguments)
        waiting = Acknowledgement() if reads else self._acknowledgement
        (reply,) = await round_trip(self._redis, [command], waiting)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _hash(self, key: str) -> dict[str, str]:
        flat = await self._run("return redis.call('HGETALL', KEYS[1])", [key], reads=True)
        words = [word.decode() for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    async def read(self) -> Pointer:
        """Which generation is live now. Raises redis.RedisError."""
        held = await self._hash(self._key)
        live = int(held.get("live", FIRST))
        made = {int(name.removeprefix("made.")) for name in held if name.startswith("made.")}
        return Pointer(
            int(held.get("epoch", 0)), live,
            int(held["previous"]) if "previous" in held else None,
            int(held["building"]) if "building" in held else None,
            frozenset(made | {live}),
        )  # fmt: skip

    async def begin(self) -> int:
        """The generation that is being built; a new one where there is none."""
        return int(await self._run(_BEGIN, [self._key]))

    async def positions(self, generation: int) -> dict[str, int]:
        """Of each part of a source the number below which all is in the generation."""
        held = await self._hash(self._positions(generation))
        return {name: int(number) for name, number in held.items()}

    async def keep(self, generation: int, positions: Mapping[str, int]) -> None:
        """All below these positions is merged and counted in a generation that is not live.

        Raises:
            GenerationError: it is live by now, or dropped: whoever builds it has to stop.
            redis.RedisError: Redis could not do its part; keep it again.
        """
        flat = [word for pair in positions.items() for word in pair]
        kept = await self._run(_KEEP, [self._key, self._positions(generation)], generation, *flat)
        if kept == 0:
            raise GenerationError(
                f"generation {generation} is live by now, so nothing is built into it any more"
            )
        if kept < 0:
            raise GenerationError(f"there is no generation {generation} any more: it was dropped")

    async def expect(self, generation: int, extents: Mapping[str, tuple[int, int]]) -> None:
        """Note what is to be built into a generation: of each part its first number and its end."""
        flat = [word for part, (first, end) in extents.items() for word in (part, f"{first}:{end}")]
        await self._run(_EXPECT, [self._key, self._extents(generation)], generation, *flat)

    async def expected(self, generation: int) -> dict[str, tuple[int, int]]:
        """What was noted so, whether it has been built or not."""
        held = await self._hash(self._extents(generation))
        found = {}
        for part, extent in held.items():
            first, _, end = extent.partition(":")
            found[part] = int(first), int(end)
        return found

    async def flip(self, seen: Pointer, to: int, committed: Mapping[str, int]) -> bool:
        """Make a generation live, atomically.

        Args:
            seen: what was read before.
            to: generation whose positions tell what is in it.
            committed: by partition what the workers have committed: below, all is in the one that
                was live, wherever they had taken that up.

        Returns:
            False where somebody else has flipped since, or the generation is gone.
        """
        keys = [
            self._key, self._positions(seen.live), self._entered(seen.live), self._entered(to)
        ]  # fmt: skip
        flat = [word for pair in committed.items() for word in pair]
        return bool(await self._run(_FLIP, keys, seen.epoch, to, uuid4().hex, *flat))

    async def entered(self, generation: int) -> set[str]:
        """The partitions that workers have taken up with a generation since it is live."""
        return set(await self._hash(self._entered(generation)))

    async def enter(self, seen: Pointer, partitions: Collection[str]) -> bool:
        """Note that what lies behind these partitions is in the live generation.

        Returns:
            False where another one is live by now.
        """
        keys = [self._key, self._entered(seen.live)]
        return bool(await self._run(_ENTER, keys, seen.epoch, *partitions))

    async def remove(self, generation: int) -> None:
        """Take a generation out of the list. Raises GenerationError where it is live."""
        keys = [
            self._key, self._positions(generation), self._entered(generation),
            self._extents(generation),
        ]  # fmt: skip
        if not await self._run(_REMOVE, keys, generation):
            raise is_live_error(generation)


async def live_parts(parts: Parts) -> Parts:
    """These parts on the generation that is live now. Raises redis.RedisError."""
    live = (await Generations(parts.store).read()).live
    return parts if live == parts.store.generation else parts.of_generation(live)
