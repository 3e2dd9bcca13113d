"""Profiles and last lists in Redis: one atomic function call per user, one pipelined trip.

Works with a single server, Redis Cluster and Valkey (7 or later): all keys of a user share a
hash tag, and every key is passed as a key.
"""

import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b, sha256
from importlib.resources import files
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from serving.profile import INTERACTIONS, SECTIONS, VERSION, Profile, ProfileError, unpack
from serving.recommendation import (
    Recommendation,
    decode_recommendation,
    encode_recommendation,
)

RedisClient: TypeAlias = "Redis | RedisCluster"

ORIGIN_BYTES = 10
_MERGED = struct.Struct(">dBHI")


class StoreError(RuntimeError):
    """Redis answered with something this worker must not go on with."""


def origin(topic: str, partition: int, offset: int) -> bytes:
    """The 10 bytes that name a Kafka record."""
    return _origin_of_partition(topic, partition) + offset.to_bytes(6, "big")


@dataclass
class ProfileUpdate:
    """What one micro-batch adds to one user; packed records, each kind in arrival order."""

    user_id: str
    interactions: list[bytes] = field(default_factory=list)
    origins: list[bytes] = field(default_factory=list)
    """Of each interaction, the ``origin`` of the Kafka record that brought it."""
    queries: list[bytes] = field(default_factory=list)
    forget_at: int | None = None


@dataclass(frozen=True)
class MergedProfile:
    """The profile after the merge, and what the merge has done to get there."""

    profile: Profile
    is_new: tuple[bool, ...]
    """For each interaction given, whether its very record brought it into the profile: the same
    answer when the micro-batch is run again."""
    admitted: list[bytes]
    """The new ones, in the order in which they came into the profile. A run that repeats a part
    of an earlier one gets the rest of that one too."""
    forgotten_until: int
    """Time of the user's newest forget event, epoch milliseconds; -1 for none."""
    was_known: bool
    """Whether the user had a profile before."""


class FunctionLibrary:
    """The server-side functions, named by the hash of their own text.

    Two versions of nextclick therefore use two libraries, and neither overwrites the other's.
    """

    def __init__(self) -> None:
        text = files("serving").joinpath("functions.lua").read_text("utf-8")
        self.name = "nextclick_" + sha256(text.encode()).hexdigest()[:12]
        self._code = text.replace("@LIBRARY@", self.name)

    async def load(self, redis: RedisClient) -> None:
        """Load the library on every primary.

        Raises:
            StoreError: the server is older than Redis 7, or forbids FUNCTION.
        """
        try:
            if isinstance(redis, RedisCluster):
                await redis.function_load(
                    self._code, replace=True, target_nodes=RedisCluster.PRIMARIES
                )  # type: ignore[call-arg]
            else:
                await redis.function_load(self._code, replace=True)
        except ResponseError as error:
            raise StoreError(
                f"Redis refused FUNCTION LOAD ({error}); nextclick needs Redis 7 or later, or "
                "Valkey, and a user that may run FUNCTION and FCALL"
            ) from error


class Store:
    """Profiles, forget markers and last lists.

    Args:
        redis: an asyncio client that returns bytes, with time-outs of its own.
        prefix: first part of every key.
        profile_ttl_ms: how long a profile outlives its newest event; at least the retention of
            the events topic, or a replay of the topic would bring back less than was lost.
        list_ttl_ms: how long the last list can be looked up.
    """

    def __init__(
        self, redis: RedisClient, *, prefix: str, profile_ttl_ms: int, list_ttl_ms: int
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.functions = FunctionLibrary()
        self._list_ttl_ms = list_ttl_ms
        self._merge_head: list[Any] = [
            VERSION,
            *(n for section in SECTIONS for n in (section.width, section.bound)),
            profile_ttl_ms,
        ]

    async def open(self) -> None:
        """Load the server-side functions. Raises StoreError or redis.RedisError."""
        await self.functions.load(self.redis)

    def keys(self, user_id: str) -> tuple[str, str, str, str]:
        """The keys of a user: profile, forget marker, last list, last admissions."""
        digest = blake2b(user_id.encode(), digest_size=16).digest()
        tag = f"{self.prefix}:{{{urlsafe_b64encode(digest).decode().rstrip('=')}}}"
        return f"{tag}:profile", f"{tag}:forgotten", f"{tag}:list", f"{tag}:admitted"

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run (function, number of keys, keys and arguments ...) calls in one pipelined trip.

        A server that lost the functions (flushed, failed over to a bare node) gets them again;
        every function may be repeated, so the whole trip is.

        Raises:
            StoreError: Redis holds something newer than this worker.
            serving.profile.ProfileError: a stored profile is damaged.
            redis.RedisError: anything else that Redis could not do.
        """
        if not calls:
            return []
        for attempt in (0, 1):
            pipe = self.redis.pipeline(transaction=False)
            for function, *arguments in calls:
                pipe.execute_command("FCALL", f"{self.functions.name}_{function}", *arguments)
            results: list[Any] = await pipe.execute(raise_on_error=False)
            at = next((at for at, r in enumerate(results) if isinstance(r, Exception)), None)
            if at is None:
                return results
            failed: Exception = results[at]
            if attempt == 0 and "Function not found" in str(failed):
                await self.open()
            elif "NEWERFORMAT" in str(failed):
                raise StoreError(
                    f"Redis holds profiles of a newer format than {VERSION} ({failed}); this "
                    "worker will not overwrite them: upgrade it"
                )
            elif "DAMAGED" in str(failed):
                raise ProfileError(f"{failed}; delete the key {calls[at][2]} to start it anew")
            else:
                break
        raise failed if isinstance(failed, RedisError) else StoreError(str(failed))

    async def merge(self, updates: Sequence[ProfileUpdate]) -> list[MergedProfile]:
        """Merge new events into the users' profiles, atomically per user, in one trip."""
        replies = await self.run(
            [
                (
                    "merge", 4, *self.keys(update.user_id), *self._merge_head,
                    b"".join(map(bytes.__add__, update.origins, update.interactions)),
                    b"".join(update.queries),
                    "" if update.forget_at is None else update.forget_at,
                )
                for update in updates
            ]
        )  # fmt: skip
        return [_merged(update, reply) for update, reply in zip(updates, replies, strict=True)]

    async def keep(self, lists: Sequence[Recommendation]) -> None:
        """Keep each list as its user's last one, unless a newer one or a forget is there."""
        await self.run(
            [
                (
                    "keep", 2, last_list, forgotten, each.as_of.topic, each.as_of.partition,
                    each.as_of.offset, each.ts, encode_recommendation(each), self._list_ttl_ms,
                )
                for each in lists
                for _, forgotten, last_list, _ in (self.keys(each.user_id),)
            ]
        )  # fmt: skip

    async def profile(self, user_id: str) -> Profile:
        """The stored profile of a user; an empty one where there is none."""
        data: Any = await self.redis.get(self.keys(user_id)[0])
        return unpack(data)

    async def last_list(self, user_id: str) -> Recommendation | None:
        """The user's last list, or None."""
        data: Any = await self.redis.hget(self.keys(user_id)[2], "list")
        return None if data is None else decode_recommendation(data)


@lru_cache(maxsize=1 << 12)
def _origin_of_partition(topic: str, partition: int) -> bytes:
    return blake2b(f"{topic}:{partition}".encode(), digest_size=4).digest()


def _merged(update: ProfileUpdate, reply: bytes) -> MergedProfile:
    """What the server's merge has answered; ``functions.lua`` says how it is packed."""
    marker, was_known, count, size = _MERGED.unpack_from(reply)
    flags_end = _MERGED.size + count
    profile_end = flags_end + size
    is_new = tuple(flag == 0x31 for flag in reply[_MERGED.size : flags_end])
    admitted = [record for record, new in zip(update.interactions, is_new, strict=True) if new]
    if earlier := reply[profile_end:]:
        width = ORIGIN_BYTES + INTERACTIONS.width
        before = [earlier[at + ORIGIN_BYTES : at + width] for at in range(0, len(earlier), width)]
        admitted = list(dict.fromkeys([*before, *admitted]))
    return MergedProfile(
        profile=unpack(reply[flags_end:profile_end]),
        is_new=is_new,
        admitted=admitted,
        forgotten_until=int(marker),
        was_known=bool(was_known),
    )
