"""What a profile is: bounded sets of records in one packed value. Pure, no I/O.

A section is a run of fixed-width records, newest first, without duplicates. Records are
big-endian with the time in front, so byte order is time order, and merging two sections is
"unite, sort, keep the first N": commutative, associative and idempotent. Everything else about
a user is derived from these bytes when they are read.

    value        version u8 | interactions u8 | queries u8 | purchases u16 | traits u8 | sections
    interaction  time u48 ms | event id hash u32 | item hash u48 | kind u8 | value u8 | price u8
    query        time u48 ms | event id hash u32 | text, 49 bytes of UTF-8, zero-padded | linked u8
    purchase     day u16 since 1970 | item hash u48
    trait        time u48 ms | name u16 | value u48, of each name the newest (``model.traits``)

At its bounds a value takes 4,886 bytes. Redis allots 5,120 to it, and the 228 left over hold the
last admissions and a stamp, which stand behind the profile and are no part of it
(``functions.lua``).

What an anonymous id did, in the profile of the user that it is linked with, has 128 added to its
kind, or ``linked`` set.

An event is known by its time, the hash of its id, and its content: of two events of one id and
time that differ otherwise both are kept, and the conflict is counted.

Format 2 had no traits, and up to 300 purchases; it is read, and written as format 3.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import LAST_DAY, PROFILE_INTERACTIONS, PROFILE_PURCHASES
from model.events import (
    INTERACTION_KINDS,
    MAX_TIME_MS,
    Cart,
    Click,
    Favorite,
    Interaction,
    Purchase,
    Rating,
    Search,
)
from model.features import (
    NO_SEARCHES,
    Histories,
    Interactions,
    Purchases,
    PurchaseTable,
    Searches,
)
from model.ids import ITEM_HASH_BYTES, item_hash
from model.traits import MOST_TRAITS, TRAIT_BYTES, merge_traits

VERSION = 3
OLDEST_VERSION = 2
FIRST_WITH_TRAITS = 3
DAY_MS = 86_400_000
QUERY_BYTES = 49
PURCHASE_KIND = INTERACTION_KINDS[Purchase]
LINKED = 128


@dataclass(frozen=True)
class Section:
    """A bounded set of fixed-width records."""

    width: int
    bound: int


IDENTITY_BYTES = 10
"""Time and event id hash, in front of interactions and queries."""
INTERACTIONS = Section(width=IDENTITY_BYTES + ITEM_HASH_BYTES + 3, bound=PROFILE_INTERACTIONS)
QUERIES = Section(width=IDENTITY_BYTES + QUERY_BYTES + 1, bound=10)
# A grocery household has hundreds of purchase lines; a window of 100 costs it a sixth of NDCG@10.
PURCHASES = Section(width=2 + ITEM_HASH_BYTES, bound=PROFILE_PURCHASES)
TRAITS = Section(width=TRAIT_BYTES, bound=MOST_TRAITS)
SECTIONS = (INTERACTIONS, QUERIES, PURCHASES, TRAITS)
_SETS = SECTIONS[:3]
"""Those that are merged by "unite, sort, keep the first N" and no more."""

_HEADER = struct.Struct(">BBBHB")
_HEADER_BEFORE_TRAITS = struct.Struct(">BBBH")
HEADER_BYTES = _HEADER.size
_ITEM = slice(IDENTITY_BYTES, IDENTITY_BYTES + ITEM_HASH_BYTES)
_KIND = _ITEM.stop

_PLAIN_CLICK = bytes((INTERACTION_KINDS[Click], 0, 0))


class ProfileError(ValueError):
    """A stored profile that this version cannot read."""


class Profile(NamedTuple):
    """A profile as read: newest first in the packed sections, oldest first in the arrays.

    The sections stand in the order of ``SECTIONS``.
    """

    interactions: bytes = b""
    queries: bytes = b""
    purchases: bytes = b""
    traits: bytes = b""

    def history(self) -> Interactions:
        """Items, kinds and times of the interactions, oldest first."""
        return histories_of([self])[0]

    def bought(self) -> Purchases:
        """Items and days of the purchases, newest first."""
        return Purchases(*purchases_of([self])[:2])

    def searches(self) -> list[tuple[int, str]]:
        """(time ms, text cut to 50 bytes) of the searches, newest first."""
        records = _split(self.queries, QUERIES.width)
        return [
            (
                int.from_bytes(record[:6], "big"),
                record[IDENTITY_BYTES:-1].rstrip(b"\0").decode(errors="ignore"),
            )
            for record in records
        ]

    def searches_until(self, until: int = MAX_TIME_MS) -> Searches:
        """The same searches up to ``until`` (epoch ms), oldest first, as a network reads them."""
        found = [(time, text) for time, text in self.searches()[::-1] if time <= until]
        if not found:
            return NO_SEARCHES
        return Searches(
            np.array([time for time, _ in found], np.int64), [text for _, text in found]
        )

    def pack(self) -> bytes:
        """The bytes that are stored."""
        return b"".join((self.header(), *self))

    def header(self) -> bytes:
        """What a stored value begins with."""
        return _HEADER.pack(
            VERSION,
            len(self.interactions) // INTERACTIONS.width,
            len(self.queries) // QUERIES.width,
            len(self.purchases) // PURCHASES.width,
            len(self.traits) // TRAITS.width,
        )

    def linked(self) -> "Profile":
        """The same events as those of an anonymous id, in the profile of the user that it is."""
        interactions = _split(self.interactions, INTERACTIONS.width)
        queries = _split(self.queries, QUERIES.width)
        kinds = [record[_KIND] % LINKED + LINKED for record in interactions]
        return Profile(
            b"".join(
                record[:_KIND] + bytes((kind,)) + record[_KIND + 1 :]
                for record, kind in zip(interactions, kinds, strict=True)
            ),
            b"".join(record[:-1] + b"\1" for record in queries),
            self.purchases,
            self.traits,
        )

    def merge(self, other: "Profile") -> "Profile":
        """The union of two profiles, each section cut to its newest records."""
        interactions, queries, purchases = (
            b"".join(
                sorted({*_split(a, kind.width), *_split(b, kind.width)}, reverse=True)[: kind.bound]
            )
            for a, b, kind in zip(self[:3], other[:3], _SETS, strict=True)
        )
        return Profile(interactions, queries, purchases, merge_traits(self.traits, other.traits))


def unpack(data: bytes | None) -> Profile:
    """The profile in a stored value; an empty one where nothing is stored.

    Raises:
        ProfileError: the value is of a newer format, or damaged.
    """
    profile, behind = split_stored(data)
    if data and behind:
        raise ProfileError(f"a profile of {len(data)} bytes does not match its own header")
    return profile


def split_stored(data: bytes | None) -> tuple[Profile, bytes]:
    """The profile in a stored value, and what stands behind it. Raises as ``unpack`` does."""
    if not data:
        return Profile(), b""
    if data[0] > VERSION:
        raise ProfileError(
            f"a profile of format {data[0]} where this worker reads {VERSION}; "
            "upgrade every worker before the first one writes the newer format"
        )
    header = _HEADER if data[0] >= FIRST_WITH_TRAITS else _HEADER_BEFORE_TRAITS
    if len(data) < header.size or data[0] < OLDEST_VERSION:
        raise ProfileError(f"a profile of {len(data)} bytes is damaged")
    _, *counts = header.unpack_from(data)
    found: list[bytes] = []
    at = header.size
    for count, section in zip(counts, SECTIONS, strict=False):
        end = at + count * section.width
        found.append(data[at : min(end, at + section.bound * section.width)])
        at = end
    if len(data) < at:
        raise ProfileError(f"a profile of {len(data)} bytes does not match its own header")
    return Profile(*found), data[at:]


def histories_of(profiles: Sequence[Profile]) -> Histories:
    """The interactions of many users, read out of the packed bytes in one go."""
    sizes = [len(each.interactions) for each in profiles]
    # The newest come first in a section: read backwards, the last user is the first one.
    packed = b"".join([each.interactions for each in reversed(profiles)])
    width = INTERACTIONS.width
    return Histories(
        items=_unsigned48(packed, IDENTITY_BYTES, width)[::-1],
        kinds=np.frombuffer(packed, np.uint8)[_KIND::width][::-1] % LINKED,
        times=_unsigned48(packed, 0, width)[::-1].astype(np.int64),
        starts=np.append(0, np.cumsum(sizes, dtype=np.int64)) // width,
    )


def purchases_of(profiles: Sequence[Profile]) -> PurchaseTable:
    """The purchases of many users, read out of the packed bytes in one go."""
    packed = b"".join([each.purchases for each in profiles])
    width = PURCHASES.width
    sizes = np.array([len(each.purchases) for each in profiles], np.int64) // width
    days = np.ndarray(len(packed) // width, ">u2", packed + bytes(width), 0, (width,))
    return PurchaseTable(
        items=_unsigned48(packed, 2, width),
        days=days.astype(np.uint16),
        owner=np.repeat(np.arange(len(profiles)), sizes),
    )


def pack_interaction(event: Interaction) -> bytes:
    """The record of one interaction: the same bytes for the same event, always."""
    if type(event) is Click and event.dwell_ms is None:  # by far the most
        content = _PLAIN_CLICK
    else:
        content = bytes((INTERACTION_KINDS[type(event)], *_quantised(event)))
    ts = event.ts
    return (
        (ts if type(ts) is int else event.time).to_bytes(6, "big")
        + _event_hash(event.event_id)
        + _packed_item(event.item_id)
        + content
    )


def pack_query(event: Search) -> bytes:
    """The record of one search."""
    text = cut_query(event.query).ljust(QUERY_BYTES + 1, b"\0")
    return event.time.to_bytes(6, "big") + _event_hash(event.event_id) + text


def cut_query(text: str) -> bytes:
    """What a profile keeps of a query; a cut inside a character drops that character."""
    return text.encode()[:QUERY_BYTES].decode(errors="ignore").encode()


def pack_purchase(interaction: bytes) -> bytes:
    """The short form of a purchase's interaction record."""
    day = min(int.from_bytes(interaction[:6], "big") // DAY_MS, LAST_DAY)
    return day.to_bytes(2, "big") + interaction[_ITEM]


def is_purchase(interaction: bytes) -> bool:
    """Whether an interaction record is a purchase, the user's own or an anonymous id's."""
    return interaction[_KIND] % LINKED == PURCHASE_KIND


def profile_of(
    interactions: list[bytes], queries: list[bytes], traits: list[bytes] | None = None
) -> Profile:
    """The profile that holds just these records, in any order, duplicates allowed."""
    bought = [pack_purchase(record) for record in interactions if is_purchase(record)]
    unsorted = Profile(
        b"".join(interactions), b"".join(queries), b"".join(bought), b"".join(traits or ())
    )
    return unsorted.merge(Profile())


@lru_cache(maxsize=1 << 17)
def _packed_item(item_id: str) -> bytes:
    return item_hash(item_id).to_bytes(ITEM_HASH_BYTES, "big")


def _event_hash(event_id: str) -> bytes:
    return blake2b(event_id.encode(), digest_size=4).digest()


def _quantised(event: Interaction) -> tuple[int, int]:
    match event:
        case Click(dwell_ms=dwell):
            return _log_byte(dwell), 0
        case Rating(value=value):
            return round(10 * max(0.0, min(25.5, value))), 0
        case Cart() | Purchase() | Favorite():
            return max(1, round(min(255, event.quantity))), _log_byte(event.price)


def _log_byte(value: float | None) -> int:
    """0 for unknown, else eight steps to each doubling of 1 + value."""
    return 0 if value is None else 1 + min(254, round(8 * log2(1 + value)))


def unsigned(column: NDArray[np.void]) -> NDArray[np.uint64]:
    """The numbers in a column of 6 bytes each, big-endian: uint64 of the same length."""
    wide = np.zeros((len(column), 8), dtype=np.uint8)
    wide[:, 2:] = np.frombuffer(column.tobytes(), dtype=np.uint8).reshape(-1, 6)
    return wide.view(">u8").ravel().astype(np.uint64)


def _unsigned48(packed: bytes, first: int, width: int) -> NDArray[np.uint64]:
    """The big-endian numbers of 6 bytes that begin at byte ``first`` of each record."""
    # Eight bytes are read, of which the last two are the next ones in the record, or padding.
    wide = np.ndarray(len(packed) // width, ">u8", packed + bytes(width), first, (width,))
    return wide.astype(np.uint64) >> np.uint64(16)


def _split(section: bytes, width: int) -> list[bytes]:
    return [section[at : at + width] for at in range(0, len(section), width)]
