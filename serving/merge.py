"""What a merge into a profile is asked and answers, and how both travel to ``functions.lua``."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from serving.functions import MOST_ADMISSIONS
from serving.profile import IDENTITY_BYTES, INTERACTIONS, Profile, unpack

ORIGIN_BYTES = 10
ADMISSION_BYTES = ORIGIN_BYTES + IDENTITY_BYTES
_MERGED = struct.Struct(">dBHHHI")
_READ = struct.Struct(">dI")
_INTERACTION, _QUERY = b"\x01", b"\x02"
NOTHING = Profile()
"""No records."""
_LINK_BYTES = 23
_TIME_BYTES = 6

UserOrDigest: TypeAlias = "str | bytes"
"""A user id, or the 16 bytes by which the store knows one."""


class Link(NamedTuple):
    """An anonymous id is a known user."""

    is_known: bool
    """Whether ``digest`` is the known user, seen from the anonymous id; else the other way."""
    since: int
    """Time of the newest identify event that says so, epoch milliseconds."""
    digest: bytes


def origin(source: str, offset: int) -> bytes:
    """The 10 bytes that name a Kafka record; ``source`` names topic and partition."""
    return origins_of(source)(offset)


def origins_of(source: str) -> Callable[[int], bytes]:
    """The same of any offset."""
    head = blake2b(source.encode(), digest_size=ORIGIN_BYTES - 6).digest()
    return lambda offset: head + offset.to_bytes(6, "big")


class ProfileUpdate(Struct, gc=False):
    """What one micro-batch adds to one user.

    Raises ValueError from ``Store.merge`` where it holds more events than admissions are kept.
    """

    user: UserOrDigest
    events: list[bytes] = []
    """Packed interactions and queries in order of arrival, whose admission is asked for."""
    origins: list[bytes] = []
    """Of each event, the ``origin`` of the Kafka record that brought it."""
    forget_at: int | None = None
    others: Profile = NOTHING
    """Records without an origin, which are merged too."""
    link: Link | None = None
    """Where ``others`` come from an anonymous id of this user."""
    linked_forgotten_until: int = -1
    """Of that anonymous id."""

    @property
    def holds_events_only(self) -> bool:
        """Whether it is the usual kind: events, and nothing else."""
        return self.forget_at is None and self.link is None and self.others == NOTHING

    @property
    def holds_own_only(self) -> bool:
        """Whether it is that or has traits, too: nothing of another id, and nothing forgotten."""
        return self.forget_at is None and self.link is None and not any(self.others[:3])

    def pack_link(self) -> bytes:
        """As a merge is told of it: time u48, digest, and the time u48 up to which all is forgotten
        that came over it, where some is; empty where there is no link."""
        if self.link is None:
            return b""
        until = self.linked_forgotten_until
        packed = self.link.since.to_bytes(_TIME_BYTES, "big") + self.link.digest
        return packed if until < 0 else packed + until.to_bytes(_TIME_BYTES, "big")

    def pack_events(self) -> bytes:
        """Section, origin and record of each event. Raises ValueError where there are too many."""
        if len(self.events) > MOST_ADMISSIONS:
            raise ValueError(f"{len(self.events)} events of a user; at most {MOST_ADMISSIONS}")
        packed = b""
        for record, place in zip(self.events, self.origins, strict=True):
            kind = _INTERACTION if len(record) == INTERACTIONS.width else _QUERY
            packed += kind + place + record
        return packed


class MergedProfile(Struct, frozen=True, gc=False):
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
    linked_forgotten_until: int = -1
    """Up to this time, never before the other, nothing is held that came from anonymous ids: one of
    them was forgotten up to then; -1 for none."""


class StampedProfile(Struct, frozen=True, gc=False):
    """What a merge has left in the store."""

    merged: MergedProfile
    stamp: bytes
    """Of the stored value, which no other value has; empty where nothing is stored."""


@dataclass(frozen=True)
class StoredProfile:
    """A profile as read, without what was forgotten."""

    profile: Profile
    links: tuple[Link, ...]
    forgotten_until: int
    """Time of the user's newest forget event, epoch milliseconds; -1 for none."""
    linked_forgotten_until: int
    """The same of what came from anonymous ids (``MergedProfile``)."""


def unpack_answer(reply: list[bytes]) -> StampedProfile:
    """The answer of ``merge``; ``functions.lua`` says how it is packed."""
    answer, value = reply
    marker, was_known, count, conflicts, admissions, size = _MERGED.unpack_from(answer)
    flags_end = _MERGED.size + count
    open_end = flags_end + admissions * ADMISSION_BYTES
    links, linked_until = _unpack_links(answer[open_end:])
    merged = MergedProfile(
        profile=unpack(value[:size]),
        is_new=tuple([flag == 0x31 for flag in answer[_MERGED.size : flags_end]]),
        arrivals=split_admissions(answer[flags_end:open_end]),
        forgotten_until=int(marker),
        was_known=bool(was_known),
        conflicts=conflicts,
        links=links,
        linked_forgotten_until=max(int(marker), linked_until),
    )
    return StampedProfile(merged, value[size + admissions * ADMISSION_BYTES :])


def unpack_stored(reply: bytes) -> StoredProfile:
    """The answer of ``read`` and ``link``."""
    marker, size = _READ.unpack_from(reply)
    end = _READ.size + size
    links, linked_until = _unpack_links(reply[end:])
    forgotten_until = int(marker)
    return StoredProfile(
        unpack(reply[_READ.size : end]), links, forgotten_until, max(forgotten_until, linked_until)
    )


def split_admissions(packed: bytes) -> list[bytes]:
    """Admissions, one by one."""
    return [packed[at : at + ADMISSION_BYTES] for at in range(0, len(packed), ADMISSION_BYTES)]


def _unpack_links(packed: bytes) -> tuple[tuple[Link, ...], int]:
    """Links as an identity holds them, one by one, and the limit among them, -1 for none."""
    if not packed:
        return (), -1
    links, limit = [], -1
    for at in range(0, len(packed), _LINK_BYTES):
        kind, time = packed[at : at + 1], int.from_bytes(packed[at + 1 : at + 7], "big")
        if kind == b"f":
            limit = time
        else:
            links.append(Link(kind == b"k", time, packed[at + 7 : at + _LINK_BYTES]))
    return tuple(links), limit
