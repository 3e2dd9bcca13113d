"""Profiles and last lists in Redis: one atomic function call per user, one pipelined trip.

Works with a single server, Redis Cluster and Valkey (7 or later): all keys of a user share a
hash tag, and every key is passed as a key.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from importlib.resources import files
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from serving.profile import SECTIONS, VERSION, Profile, unpack
from serving.recommendation import (
    Recommendation,
    decode_recommendation,
    encode_recommendation,
)

RedisClient: TypeAlias = "Redis | RedisCluster"


class StoreError(RuntimeError):
    """Redis answered with something this worker must not go on with."""


@dataclass
class ProfileUpdate:
    """What one micro-batch adds to one user; packed records, each kind in arrival order."""

    user_id: str
    interactions: list[bytes] = field(default_factory=list)
    queries: list[bytes] = field(default_factory=list)
    forget_at: int | None = None


@dataclass(frozen=True)
class MergedProfile:
    """The profile after the merge, and for each interaction given whether it was new."""

    profile: Profile
    is_new: tuple[bool, ...]


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
        self.library = FunctionLibrary()
        self._list_ttl_ms = list_ttl_ms
        self._merge_head: list[Any] = [
            VERSION,
            *(n for section in SECTIONS for n in (section.width, section.bound)),
            profile_ttl_ms,
        ]

    async def open(self) -> None:
        """Load the server-side functions. Raises StoreError or redis.RedisError."""
        await self.library.load(self.redis)

    def keys(self, user_id: str) -> tuple[str, str, str]:
        """The keys of a user: profile, forget marker, last list."""
        digest = blake2b(user_id.encode(), digest_size=16).digest()
        tag = f"{self.prefix}:{{{urlsafe_b64encode(digest).decode().rstrip('=')}}}"
        return f"{tag}:profile", f"{tag}:forgotten", f"{tag}:list"

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run (function, number of keys, keys and arguments ...) calls in one pipelined trip.

        A server that lost the functions (flushed, failed over to a bare node) gets them again;
        every function may be repeated, so the whole trip is.
        """
        if not calls:
            return []
        for attempt in (0, 1):
            pipe = self.redis.pipeline(transaction=False)
            for function, *arguments in calls:
                pipe.execute_command("FCALL", f"{self.library.name}_{function}", *arguments)
            results: list[Any] = await pipe.execute(raise_on_error=False)
            failed = next((r for r in results if isinstance(r, Exception)), None)
            if failed is None:
                return results
            if attempt == 0 and "Function not found" in str(failed):
                await self.open()
            elif "NEWERFORMAT" in str(failed):
                raise StoreError(
                    f"Redis holds profiles of a newer format than {VERSION} ({failed}); this "
                    "worker will not overwrite them: upgrade it"
                )
            else:
                break
        raise failed if isinstance(failed, RedisError) else StoreError(str(failed))

    async def merge(self, updates: Sequence[ProfileUpdate]) -> list[MergedProfile]:
        """Merge new events into the users' profiles, atomically per user, in one trip."""
        results = await self.run(
            [
                (
                    "merge", 3, *self.keys(update.user_id), *self._merge_head,
                    b"".join(update.interactions), b"".join(update.queries),
                    "" if update.forget_at is None else update.forget_at,
                )
                for update in updates
            ]
        )  # fmt: skip
        return [
            MergedProfile(unpack(value), tuple(flag == 0x31 for flag in flags))
            for value, flags in results
        ]

    async def keep(self, lists: Sequence[Recommendation]) -> None:
        """Keep each list as its user's last one, unless a newer one is there."""
        await self.run(
            [
                (
                    "keep", 1, self.keys(each.user_id)[2], each.as_of.topic,
                    each.as_of.partition, each.as_of.offset, encode_recommendation(each),
                    self._list_ttl_ms,
                )
                for each in lists
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
