"""Profiles and last lists in Redis: one atomic function call per user, one pipelined trip.

Works with a single server, Redis Cluster and Valkey (7 or later): all keys of a user share a
hash tag, and every key is passed as a key.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Self

from redis.exceptions import RedisError

from serving import metrics
from serving.feedback import pack_shown
from serving.functions import FunctionLibrary
from serving.merge import (
    MergedProfile,
    ProfileUpdate,
    StoredProfile,
    UserOrDigest,
    unpack_answer,
    unpack_stored,
)
from serving.profile import VERSION, Profile, ProfileError
from serving.profile_cache import ProfileCache, Proposal
from serving.recommendation import (
    Recommendation,
    decode_recommendation,
    encode_recommendation,
    with_user_id,
)
from serving.round_trip import (
    Acknowledgement,
    Command,
    RedisClient,
    StoreError,
    round_trip,
)
from serving.user_key import require_user_key

__all__ = ["Store", "StoreError"]

_DURABLE = frozenset({"merge", "link", "count", "keep", "attribute", "replace", "add", "build"})
_READING = frozenset({"read", "same", "strongest", "rows", "held"})
"""Called so that a user of Redis who may write nothing can call them."""


class UserKeys(NamedTuple):
    """The keys of a user."""

    profile: str
    identity: str
    """Forget marker, limit, and links between anonymous and known ids."""
    last_list: str


def profile_suffix(generation: int) -> str:
    """How the keys of a generation's profiles end."""
    return f":profile.{generation}" if generation else ":profile"


def profile_pattern(prefix: str, generation: int) -> str:
    """Of the keys of a generation's profiles."""
    return f"{prefix}:{{*}}{profile_suffix(generation)}"


def identity_pattern(prefix: str) -> str:
    """Of the keys of forget markers and links."""
    return f"{prefix}:{{*}}:identity"


class Store:
    """Profiles, forget markers and last lists.

    Args:
        redis: an asyncio client that returns bytes, with time-outs of its own.
        prefix: first part of every key.
        profile_ttl_ms: how long a profile outlives its newest event; at least the retention of
            the events topic, or a replay of the topic would bring back less than was lost.
        list_ttl_ms: how long the last list can be looked up.
        generation: of the profiles and counts; last lists, forget markers and links between ids
            are the same for all of them.
        secret: keys the hash that stands for a user id, so that nobody can try ids against it.
        pseudonymous: whether last lists, too, name that hash and no user id; whoever looks one up
            gets it back with the id that was asked for.
        acknowledgement: what writes wait for.
        functions: the server's half.
        cached_profiles: how many profiles to hold in memory, see ``serving.profile_cache``.
        attribution_ms: how long after a list what its user does may be due to it, at most
            ``list_ttl_ms``; 0 remembers nothing of lists.
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
        pseudonymous: bool = False,
        acknowledgement: Acknowledgement | None = None,
        functions: FunctionLibrary | None = None,
        cached_profiles: int = 32_768,
        attribution_ms: int = 0,
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.generation = generation
        self.functions = functions or FunctionLibrary()
        self.cache = ProfileCache(cached_profiles)
        self.profile_ttl_ms = profile_ttl_ms
        self._list_ttl_ms = list_ttl_ms
        self.attribution_ms = attribution_ms
        self.topic_identities: dict[str, str] = {}
        """What tells a topic from an earlier one of its name."""
        self.acknowledgement = acknowledgement or Acknowledgement()
        # blake2b takes keys of at most 64 bytes.
        self._secret = blake2b(secret).digest() if secret else b""
        self._pseudonymous = pseudonymous
        self._open_caches()

    def _open_caches(self) -> None:
        self.digest = lru_cache(maxsize=1 << 16)(self._digest)
        self.keys = lru_cache(maxsize=1 << 16)(self._keys)

    def of_generation(self, generation: int, *, attribution_ms: int | None = None) -> Self:
        """This store on the profiles of another generation, none of which it has in hand.

        Args:
            generation: number of the other one.
            attribution_ms: if another than here.
        """
        other = copy(self)
        other.generation = generation
        other.cache = ProfileCache(self.cache.capacity)
        if attribution_ms is not None:
            other.attribution_ms = attribution_ms
        other._open_caches()
        return other

    async def open(self) -> None:
        """Load the server-side functions.

        Raises:
            StoreError: Redis forbids that or is too old, or users are hashed with another key.
            redis.RedisError: it is away.
        """
        await self.functions.load(self.redis)
        await require_user_key(self.redis, self.prefix, self._secret)

    def _digest(self, user_id: str) -> bytes:
        return blake2b(user_id.encode(), digest_size=16, key=self._secret).digest()

    def name_of(self, user_id: str) -> str:
        """By which Redis knows the user in what is stored, and what ids of lists are made from."""
        return _name(self.digest(user_id)) if self._pseudonymous else user_id

    def _keys(self, user: UserOrDigest) -> UserKeys:
        digest = user if isinstance(user, bytes) else self.digest(user)
        tag = f"{self.prefix}:{{{_name(digest)}}}"
        return UserKeys(f"{tag}{profile_suffix(self.generation)}", f"{tag}:identity", f"{tag}:list")

    @staticmethod
    def digest_in(key: str) -> bytes:
        """The digest of the user whose key it is."""
        return urlsafe_b64decode(key[key.index("{") + 1 : key.index("}")] + "==")

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
            ("FCALL_RO" if function in _READING else "FCALL", f"{library}_{function}", *arguments)
            for function, *arguments in calls
        ]
        is_write = any(call[0] in _DURABLE for call in calls)
        waiting = self.acknowledgement if is_write else Acknowledgement()
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
        """Merge new events into the users' profiles, atomically per user, in one trip.

        Raises:
            ValueError: an update holds more events than admissions are kept.
            What ``run`` raises.
        """
        keys = [self.keys(update.user) for update in updates]
        stamps = self.cache.stamps(len(updates))
        proposals = [
            self.cache.propose(each.profile, update, stamp)
            for each, update, stamp in zip(keys, updates, stamps, strict=True)
        ]
        replies = await self.run(
            [self._merge_call(*each) for each in zip(keys, updates, stamps, proposals, strict=True)]
        )
        taken = refused = 0
        merged: list[MergedProfile] = []
        for each, proposal, reply in zip(keys, proposals, replies, strict=True):
            if proposal is not None and not reply:
                stored, taken = proposal.outcome, taken + 1
            else:
                stored, refused = unpack_answer(reply), refused + (proposal is not None)
            merged.append(self.cache.keep(each.profile, stored))
        metrics.MERGES.labels("held").inc(taken)
        metrics.MERGES.labels("refused").inc(refused)
        metrics.MERGES.labels("fetched").inc(len(merged) - taken - refused)
        return merged

    def _merge_call(
        self, keys: UserKeys, update: ProfileUpdate, stamp: bytes, proposal: Proposal | None
    ) -> tuple[Any, ...]:
        events = update.pack_events()
        usual = "merge", 2, keys.profile, keys.identity, self.profile_ttl_ms, events, stamp
        if proposal is not None:
            held = *usual, proposal.instead_of
            if update.others.traits:  # for the server, where the proposal is refused
                return *held, proposal.value or b"", *update.others, b""
            return held if proposal.value is None else (*held, proposal.value)
        if update.holds_events_only:
            return usual  # each argument costs
        further: tuple[bytes, ...] = (b"", b"", *update.others, update.pack_link())
        if update.forget_at is None:
            return *usual, *further
        return "merge", 3, *keys, *usual[4:], *further, update.forget_at

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
        return unpack_stored(reply)

    def source(self, topic: str, partition: int) -> str:
        """The name of a partition: a topic that was made anew does not share its predecessor's."""
        return f"{self.topic_identities.get(topic, topic)}:{partition}"

    async def keep(
        self, lists: Sequence[Recommendation], encoded: Sequence[bytes] | None = None
    ) -> None:
        """Keep each list as its user's last one, unless a newer one or a forget is there.

        Args:
            lists: of any users.
            encoded: the JSON bytes of each, where the caller has them.
        """
        if encoded is None:
            encoded = [encode_recommendation(each) for each in lists]
        if self._pseudonymous:
            names = [self.name_of(each.user_id) for each in lists]
            encoded = [with_user_id(*each) for each in zip(encoded, names, strict=True)]
        await self.run(
            [
                (
                    "keep", 2, keys.last_list, keys.identity,
                    self.source(each.as_of.topic, each.as_of.partition), each.as_of.offset,
                    each.ts, data, self._list_ttl_ms, *self._remembered(each),
                )
                for each, data in zip(lists, encoded, strict=True)
                for keys in (self.keys(each.user_id),)
            ]
        )  # fmt: skip

    def _remembered(self, made: Recommendation) -> tuple[Any, ...]:
        return (pack_shown(made), self.attribution_ms) if self.attribution_ms else ()

    async def read(self, users: Sequence[UserOrDigest]) -> list[StoredProfile]:
        """The stored profiles; an empty one where there is none."""
        keys = [self.keys(user) for user in users]
        replies = await self.run([("read", 2, each.profile, each.identity) for each in keys])
        return [unpack_stored(reply) for reply in replies]

    async def profile(self, user_id: str) -> Profile:
        """The stored profile of a user; an empty one where there is none."""
        (stored,) = await self.read([user_id])
        return stored.profile

    async def last_list(self, user_id: str) -> Recommendation | None:
        """The user's last list, or None."""
        (data,) = await self.last_lists_json([user_id])
        return None if data is None else decode_recommendation(data)

    async def last_lists_json(self, user_ids: Sequence[str]) -> list[bytes | None]:
        """The last list of each user as its JSON bytes, with the id as given here, in one trip.

        Raises redis.RedisError.
        """
        pipeline: Any = self.redis.pipeline(transaction=False)
        for user in user_ids:
            pipeline.hget(self.keys(user).last_list, "list")
        found: list[bytes | None] = await pipeline.execute()
        return [
            None if data is None else with_user_id(data, user)
            for data, user in zip(found, user_ids, strict=True)
        ]


def _name(digest: bytes) -> str:
    return urlsafe_b64encode(digest).decode().rstrip("=")
