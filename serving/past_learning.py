"""Many past events learnt at once, into profiles that nobody else writes: a build's way.

Exact whatever breaks off, because it goes in steps, each of which may be repeated from its begin:
what is new is found out and counted while no profile has changed yet; only when all shards have
the sums are profiles written. ``stream.replay.build`` notes which step it is in.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from redis.asyncio.cluster import RedisCluster

from model.dataset import LAST_DAY
from model.ids import ITEM_HASH_BYTES
from model.signals import TOGETHER_MS
from model.traits import merge_traits, place_hash
from serving.counts import Counts
from serving.functions import STAMP_BYTES
from serving.identities import Deeds, hand_up
from serving.merge import ADMISSION_BYTES, ProfileUpdate
from serving.parts import Parts
from serving.past_events import PastEvents
from serving.past_pairs import PastCounts, past_counts
from serving.past_windows import OLD, TIME_BYTES, Window, window_of
from serving.profile import (
    DAY_MS,
    IDENTITY_BYTES,
    INTERACTIONS,
    PURCHASE_KIND,
    PURCHASES,
    QUERIES,
    Profile,
    split_stored,
    unsigned,
)
from serving.store import Store
from serving.trips import run_trips

USERS_AT_ONCE = 32
"""Of a single server, in one call: less than half a millisecond in which it does nothing else."""
CALLS_AT_ONCE = 16
"""In one trip."""
_MARKER = struct.Struct(">d")
_LAST_TIME = 2 ** (8 * TIME_BYTES) - 1
_YES = ord("1")
T = TypeVar("T")


class HeldProfile(NamedTuple):
    """What is stored of a user."""

    profile: Profile
    stamp: bytes
    """Of the stored value; empty where there is none."""
    marker: int
    """Time of the newest forget event, epoch milliseconds; -1 for none."""
    is_bound: bool
    """Whether there is a forget marker or a link, at which the server has to look itself."""


class PastProfiles(Struct, frozen=True):
    """What past events do to profiles: four things of each user, in the order of the events'."""

    users: Sequence[str]
    held: Sequence[HeldProfile]
    seen: Window
    asked: Window
    purchases: Sequence[bytes]
    """New ones, as a section."""
    traits: dict[int, bytes]


async def held_profiles(store: Store, users: Sequence[str]) -> list[HeldProfile]:
    """What is stored of users. Raises what ``Store.run`` raises."""
    found: list[HeldProfile] = []

    def take(_: Any, replies: list[list[bytes]]) -> None:
        for reply in replies:
            found.extend(map(_held, reply[::2], reply[1::2]))

    await run_trips(
        store,
        (
            (some, [("held", 2 * len(few), *_keys(store, few)) for few in some])
            for some in _some_users(store, users)
        ),
        take,
    )
    return found


def _held(value: bytes, identity: bytes) -> HeldProfile:
    profile, behind = split_stored(value)
    stamp = behind[-STAMP_BYTES:] if len(behind) % ADMISSION_BYTES == STAMP_BYTES else b""
    if not identity:
        # What was written before there were stamps only the server can replace.
        return HeldProfile(profile, stamp, -1, bool(value) and not stamp)
    marker = int(_MARKER.unpack_from(identity)[0])
    if marker >= 0:
        profile = profile._replace(
            interactions=_later(profile.interactions, INTERACTIONS.width, marker),
            queries=_later(profile.queries, QUERIES.width, marker),
        )
    return HeldProfile(profile, stamp, marker, True)


def _later(section: bytes, width: int, marker: int) -> bytes:
    limit, end = marker.to_bytes(TIME_BYTES, "big"), len(section)
    while end and section[end - width : end - width + TIME_BYTES] <= limit:
        end -= width
    return section[:end]


def past_profiles(events: PastEvents, held: Sequence[HeldProfile]) -> PastProfiles:
    """What the events do to the profiles of their users, which are held like that."""
    markers = np.array([each.marker for each in held], np.int64)
    lowest = np.full(len(held), np.iinfo(np.int64).max)
    for section, rows in ((INTERACTIONS, events.interactions), (QUERIES, events.queries)):
        layout = [("time", f"V{TIME_BYTES}"), ("rest", f"V{section.width - TIME_BYTES}")]
        times = unsigned(np.frombuffer(rows.packed, np.dtype(layout))["time"])
        np.minimum.at(lowest, rows.owners, times.astype(np.int64))
    limits = np.maximum(np.maximum(lowest - TOGETHER_MS, markers + 1), 0)
    limits = np.minimum(limits, _LAST_TIME)
    since = [each.to_bytes(TIME_BYTES, "big") for each in limits.tolist()]
    interactions = [each.profile.interactions for each in held]
    queries = [each.profile.queries for each in held]
    seen = window_of(INTERACTIONS, events.interactions, interactions, since, markers)
    asked = window_of(QUERIES, events.queries, queries, since, markers)
    return PastProfiles(
        list(events.users), held, seen, asked, _purchases(seen, len(held)), events.traits()
    )


def counts_of(events: PastEvents, changes: PastProfiles, counts: Counts) -> PastCounts:
    """What the new ones among the events add to the shared counts."""
    if not counts.by_country:
        return past_counts(changes.seen, changes.asked, counts.weights)
    arrivals = np.array(events.interactions.arrivals, np.int64)
    countries = np.array(
        [-1 if each is None else place_hash(each) for each in events.countries], np.int64
    )

    def places(of: NDArray[np.int64], items: NDArray[np.uint64]) -> NDArray[np.uint64]:
        found = countries[np.searchsorted(arrivals, of)]
        sets = counts.sets.of_countries(found, counts.sets.shards_of(items))
        return np.where(found < 0, np.uint64(0), sets)

    return past_counts(changes.seen, changes.asked, counts.weights, places)


def _purchases(seen: Window, users: int) -> list[bytes]:
    kinds = seen.records[:, IDENTITY_BYTES + ITEM_HASH_BYTES]
    rows = np.flatnonzero((kinds == PURCHASE_KIND) & (seen.arrival != OLD))
    days = np.minimum(seen.times[rows] // DAY_MS, LAST_DAY).astype(np.uint64)
    keys = (days << np.uint64(8 * ITEM_HASH_BYTES)) | seen.items()[rows]
    order = np.lexsort((~keys, seen.owner[rows]))
    keys, owner = keys[order], seen.owner[rows][order]
    is_first = np.append(True, (keys[1:] != keys[:-1]) | (owner[1:] != owner[:-1]))[: len(keys)]
    packed = keys[is_first].astype(">u8").tobytes()
    ends = (np.searchsorted(owner[is_first], np.arange(users + 1)) * PURCHASES.width).tolist()
    return [packed[begin:end] for begin, end in pairwise(ends)]


async def write_profiles(parts: Parts, changes: PastProfiles) -> None:
    """Write what has changed; again changes nothing. Raises what ``Store.run`` raises."""
    store = parts.store
    refused = await _replace(store, changes, _changed(changes))
    bound = [at for at, held in enumerate(changes.held) if held.is_bound]
    for start in range(0, len(bound) + len(refused), USERS_AT_ONCE * CALLS_AT_ONCE):
        some = [*bound, *refused][start : start + USERS_AT_ONCE * CALLS_AT_ONCE]
        records = {changes.users[at]: _records_of(changes, at) for at in some}
        merged = await store.merge(
            [ProfileUpdate(user, others=profile) for user, profile in records.items()]
        )
        await hand_up(
            parts,
            [
                Deeds(store.digest(user), each, profile)
                for (user, profile), each in zip(records.items(), merged, strict=True)
            ],
        )


def _changed(changes: PastProfiles) -> Iterator[tuple[int, bytes]]:
    """Numbers and whole profiles of the users whose profile is another now, one after the other:
    all at once they would take as much memory as those before."""
    sections = zip(
        _merged(changes.seen, [each.profile.interactions for each in changes.held]),
        _merged(changes.asked, [each.profile.queries for each in changes.held]),
        strict=True,
    )
    for at, ((interactions, queries), held) in enumerate(zip(sections, changes.held, strict=True)):
        if held.is_bound:
            continue
        before = held.profile
        purchases, traits = before.purchases, before.traits
        if new := changes.purchases[at]:
            purchases = _with_purchases(purchases, new)
        if told := changes.traits.get(at):
            traits = merge_traits(traits, told)
        after = Profile(interactions, queries, purchases, traits)
        if after != before:
            yield at, after.pack()


async def _replace(
    store: Store, changes: PastProfiles, written: Iterable[tuple[int, bytes]]
) -> list[int]:
    """Write whole profiles; returns the users of whom something else is stored by now."""
    refused: list[int] = []

    def call(few: Sequence[tuple[int, bytes]]) -> tuple[Any, ...]:
        keys = _keys(store, [changes.users[at] for at, _ in few])
        stamps = store.cache.stamps(len(few))
        values = [
            part
            for (at, packed), stamp in zip(few, stamps, strict=True)
            for part in (changes.held[at].stamp, packed + stamp)
        ]
        return "replace", len(keys), *keys, store.profile_ttl_ms, *values

    def take(numbers: list[list[int]], replies: list[bytes]) -> None:
        for few, flags in zip(numbers, replies, strict=True):
            refused.extend(at for at, flag in zip(few, flags, strict=True) if flag != _YES)

    await run_trips(
        store,
        (
            ([[at for at, _ in few] for few in some], [call(few) for few in some])
            for some in _some_users(store, written)
        ),
        take,
    )
    return refused


def _merged(window: Window, held: Sequence[bytes]) -> Iterator[bytes]:
    """Each user's section: the newest of old and new."""
    section, count = window.section, len(window)
    packed = window.records[::-1].tobytes()  # newest first
    places = ((count - window.starts) * section.width).tolist()
    most = section.width * section.bound
    for at, (before, skipped) in enumerate(zip(held, window.held_bytes, strict=True)):
        begin, end = places[at + 1], places[at]
        if end - begin <= skipped and packed[begin:end] == before[:skipped]:
            yield before
        else:
            yield (packed[begin:end] + before[skipped:])[:most]


def _records_of(changes: PastProfiles, at: int) -> Profile:
    sections = []
    for window in (changes.seen, changes.asked):
        rows = slice(int(window.starts[at]), int(window.starts[at + 1]))
        # Those too that are there already: after a crash not all may know of them.
        new = window.records[rows][window.has_come[rows]]
        sections.append(new[::-1].tobytes())
    return Profile(sections[0], sections[1], traits=changes.traits.get(at, b""))


def _with_purchases(before: bytes, new: bytes) -> bytes:
    """Both newest first."""
    if new[-PURCHASES.width :] > before[: PURCHASES.width]:
        return (new + before)[: PURCHASES.width * PURCHASES.bound]
    return Profile(purchases=before).merge(Profile(purchases=new)).purchases


def _keys(store: Store, users: Iterable[str]) -> list[str]:
    found: list[str] = []
    for user in users:
        keys = store.keys(user)
        found += (keys.profile, keys.identity)
    return found


def _some_users(store: Store, users: Iterable[T]) -> Iterator[list[Sequence[T]]]:
    """So many users at a time as one trip takes, in the groups that one call may name: in a
    cluster each user has a slot of his own."""
    size = 1 if isinstance(store.redis, RedisCluster) else USERS_AT_ONCE
    left = iter(users)
    while some := list(islice(left, USERS_AT_ONCE * CALLS_AT_ONCE)):
        yield [some[at : at + size] for at in range(0, len(some), size)]
