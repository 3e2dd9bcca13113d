"""Profiles and last lists in Redis: one atomic function call per user, one pipelined trip.

Works with a single server, Redis Cluster and Valkey (7 or later): all keys of a user share a
hash tag, and every key is passed as a key.
"""

import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from redis.exceptions import RedisError

from serving.functions import MOST_ADMISSIONS, FunctionLibrary
from serving.profile import IDENTITY_BYTES, INTERACTIONS, VERSION, Profile, ProfileError, unpack
from serving.recommendation import (
    Recommendation,
    decode_recommendation,
    encode_recommendation,
)
from serving.round_trip import (
    Acknowledgement,
    Command,
    RedisClient,
    StoreError,
    round_trip,
)

__all__ = ["MOST_ADMISSIONS", "RedisClient", "Store", "StoreError"]

ORIGIN_BYTES = 10
ADMISSION_BYTES = ORIGIN_BYTES + IDENTITY_BYTES
_MERGED = struct.Struct(">dBHHHI")
_READ = struct.Struct(">dI")
_INTERACTION, _QUERY = b"\x01", b"\x02"
_LINK_BYTES = 23
_DURABLE = frozenset({"merge", "link", "count", "keep"})

UserOrDigest: TypeAlias = "str | bytes"
"""A user id, or the 16 bytes by which the store knows one."""


class UserKeys(NamedTuple):
    """The keys of a user."""

    profile: str
    identity: str
    """Forget marker, and links between anonymous and known ids."""
    last_list: str


class Link(NamedTuple):
    """An anonymous id is a known user."""

    is_known: bool
    """Whether ``digest`` is the known user, seen from the anonymous id; else the other way."""
    since: int
    """Time of the newest identify event that says so, epoch milliseconds."""
    digest: bytes


def origin(source: str, offset: int) -> bytes:
    """The 10 bytes that name a Kafka record; ``source`` names topic and partition."""
    return _hash_of_source(source) + offset.to_bytes(6, "big")


@dataclass
class ProfileUpdate:
    """What one micro-batch adds to one user.

    Raises ValueError from ``Store.merge`` where it holds more events than admissions are kept.
    """

    user: UserOrDigest
    events: list[bytes] = field(default_factory=list)
    """Packed interactions and queries in order of arrival, whose admission is asked for."""
    origins: list[bytes] = field(default_factory=list)
    """Of each event, the ``origin`` of the Kafka record that brought it."""
    forget_at: int | None = None
    others: Profile = field(default_factory=Profile)
    """Records without an origin, which are merged too."""
    link: Link | None = None
    """Where ``others`` come from an anonymous id of this user."""


@dataclass(frozen=True)
class MergedProfile:
    """The profile after the merge, and what the merge has done to get there."""

    profile: Profile
    is_new: tuple[bool, ...]
    """For each event given, whether its very record brought it into the profile: the same answer
    when the micro-batch is run again."""
    arrivals: list[bytes]
    """Origin and identity (time, event id hash) of the admissions that may not be counted yet,
    these events' among them, in the order in which they came in."""
    forgotten_until: int
    """Time of the user's newest forget event, epoch milliseconds; -1 for none."""
    was_known: bool
    """Whether the user had a profile before."""
    conflicts: int
    """New events whose id and time another event of this user has."""
    links: tuple[Link, ...]


@dataclass(frozen=True)
class StoredProfile:
    """A profile as read, without what was forgotten."""

    profile: Profile
    links: tuple[Link, ...]


class Store:
    """Profiles, forget markers and last lists.

    Args:
        redis: an asyncio client that returns bytes, with time-outs of its own.
        prefix: first part of every key.
        profile_ttl_ms: how long a profile outlives its newest event; at least the retention of
            the events topic, or a replay of the topic would bring back less than was lost.
        list_ttl_ms: how long the last list can be looked up.
        generation: of the profiles, last lists and counts; forget markers hold in all of them.
        secret: keys the hash that stands for a user id, so that nobody can try ids against it.
        acknowledgement: what writes wait for.
        functions: the server's half.
    """

    def __init__(
        self,
        redis: RedisClient,
        *,
        prefix: str,
        profile_ttl_ms: int,
        list_ttl_ms: int,
        generation: int = 0,
        secret: bytes = b"",
        acknowledgement: Acknowledgement | None = None,
        functions: FunctionLibrary | None = None,
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.generation = generation
        self.functions = functions or FunctionLibrary()
        self.profile_ttl_ms = profile_ttl_ms
        self._list_ttl_ms = list_ttl_ms
        self.topic_identities: dict[str, str] = {}
        """What tells a topic from an earlier one of its name."""
        self._acknowledgement = acknowledgement or Acknowledgement()
        # blake2b takes keys of at most 64 bytes.
        self._secret = blake2b(secret).digest() if secret else b""
        self.digest = lru_cache(maxsize=1 << 16)(self._digest)
        self.keys = lru_cache(maxsize=1 << 16)(self._keys)

    async def open(self) -> None:
        """Load the server-side functions. Raises StoreError or redis.RedisError."""
        await self.functions.load(self.redis)

    def _digest(self, user_id: str) -> bytes:
        return blake2b(user_id.encode(), digest_size=16, key=self._secret).digest()

    def _keys(self, user: UserOrDigest) -> UserKeys:
        digest = user if isinstance(user, bytes) else self.digest(user)
        tag = f"{self.prefix}:{{{urlsafe_b64encode(digest).decode().rstrip('=')}}}"
        age = f".{self.generation}" if self.generation else ""
        return UserKeys(f"{tag}:profile{age}", f"{tag}:identity", f"{tag}:list{age}")

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
        library = self.functions.name
        commands: list[Command] = [
            ("FCALL", f"{library}_{function}", *arguments) for function, *arguments in calls
        ]
        is_write = any(call[0] in _DURABLE for call in calls)
        waiting = self._acknowledgement if is_write else Acknowledgement()
        for attempt in (0, 1):
            replies = await round_trip(self.redis, commands, waiting)
            at = next((at for at, r in enumerate(replies) if isinstance(r, Exception)), None)
            if at is None:
                return replies
            failed: Exception = replies[at]
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
        replies = await self.run([self._merge_call(update) for update in updates])
        return [_merged(reply) for reply in replies]

    def _merge_call(self, update: ProfileUpdate) -> tuple[Any, ...]:
        if len(update.events) > MOST_ADMISSIONS:
            raise ValueError(f"{len(update.events)} events of a user; at most {MOST_ADMISSIONS}")
        keys = self.keys(update.user)
        events = b"".join(
            [
                part
                for record, place in zip(update.events, update.origins, strict=True)
                for part in (
                    _INTERACTION if len(record) == INTERACTIONS.width else _QUERY,
                    place,
                    record,
                )
            ]
        )
        link = update.link
        linked = b"" if link is None else link.since.to_bytes(6, "big") + link.digest
        further: tuple[bytes, ...] = (*update.others.sections, linked)
        if update.forget_at is not None:
            return "merge", 3, *keys, self.profile_ttl_ms, events, *further, update.forget_at
        if not any(further):  # each argument costs, and this is the usual case
            further = ()
        return "merge", 2, keys.profile, keys.identity, self.profile_ttl_ms, events, *further

    async def link(self, anonymous_id: str, known: bytes, since: int) -> StoredProfile:
        """From ``since`` on, or before, the anonymous id is the known user of that digest.

        Returns:
            What the anonymous id's profile holds at this very moment: what comes later learns of
            the link when it is merged.
        """
        keys = self.keys(anonymous_id)
        (reply,) = await self.run(
            [
                (
                    "link", 2, keys.profile, keys.identity, self.profile_ttl_ms,
                    since.to_bytes(6, "big"), known,
                )
            ]
        )  # fmt: skip
        return _stored(reply)

    def source(self, topic: str, partition: int) -> str:
        """The name of a partition: a topic that was made anew does not share its predecessor's."""
        return f"{self.topic_identities.get(topic, topic)}:{partition}"

    async def keep(self, lists: Sequence[Recommendation]) -> None:
        """Keep each list as its user's last one, unless a newer one or a forget is there."""
        await self.run(
            [
                (
                    "keep", 2, keys.last_list, keys.identity,
                    self.source(each.as_of.topic, each.as_of.partition), each.as_of.offset,
                    each.ts, encode_recommendation(each), self._list_ttl_ms,
                )
                for each in lists
                for keys in (self.keys(each.user_id),)
            ]
        )  # fmt: skip

    async def read(self, users: Sequence[UserOrDigest]) -> list[StoredProfile]:
        """The stored profiles; an empty one where there is none."""
        keys = [self.keys(user) for user in users]
        replies = await self.run([("read", 2, each.profile, each.identity) for each in keys])
        return [_stored(reply) for reply in replies]

    async def profile(self, user_id: str) -> Profile:
        """The stored profile of a user; an empty one where there is none."""
        (stored,) = await self.read([user_id])
        return stored.profile

    async def last_list(self, user_id: str) -> Recommendation | None:
        """The user's last list, or None."""
        data: Any = await self.redis.hget(self.keys(user_id).last_list, "list")
        return None if data is None else decode_recommendation(data)


@lru_cache(maxsize=1 << 12)
def _hash_of_source(source: str) -> bytes:
    return blake2b(source.encode(), digest_size=4).digest()


def _stored(reply: bytes) -> StoredProfile:
    _, size = _READ.unpack_from(reply)
    end = _READ.size + size
    return StoredProfile(unpack(reply[_READ.size : end]), _links(reply[end:]))


def _merged(reply: list[bytes]) -> MergedProfile:
    """What the server's merge has answered; ``functions.lua`` says how it is packed."""
    answer, value = reply
    marker, was_known, count, conflicts, admissions, size = _MERGED.unpack_from(answer)
    flags_end = _MERGED.size + count
    open_end = flags_end + admissions * ADMISSION_BYTES
    return MergedProfile(
        profile=unpack(value[:size]),
        is_new=tuple([flag == 0x31 for flag in answer[_MERGED.size : flags_end]]),
        arrivals=[
            answer[at : at + ADMISSION_BYTES] for at in range(flags_end, open_end, ADMISSION_BYTES)
        ],
        forgotten_until=int(marker),
        was_known=bool(was_known),
        conflicts=conflicts,
        links=_links(answer[open_end:]),
    )


def _links(packed: bytes) -> tuple[Link, ...]:
    return tuple(
        Link(
            is_known=packed[at : at + 1] == b"k",
            since=int.from_bytes(packed[at + 1 : at + 7], "big"),
            digest=packed[at + 7 : at + _LINK_BYTES],
        )
        for at in range(0, len(packed), _LINK_BYTES)
    )
