"""Which pairs new events make: items seen together, and items chosen after a search.

Both within 30 minutes, each pair once. Of two events that are new in one micro-batch, the one that
came in second completes the pair: the same pairs come out however a log is cut into
micro-batches, and for whatever part of it is delivered again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from model.ids import ITEM_HASH_BYTES
from model.signals import TOGETHER_MS
from model.traits import text_hash
from serving.profile import (
    IDENTITY_BYTES,
    INTERACTIONS,
    LINKED,
    QUERIES,
    QUERY_BYTES,
    Profile,
    unsigned,
)

NEVER = np.iinfo(np.int64).max
_TIME_BYTES = 6
"""In front of each record."""
_KIND = IDENTITY_BYTES + ITEM_HASH_BYTES
QUERY_MARK = 1 << 63
"""Set in the hash of a query, so that it is no item's."""
PLACE_MARK = 1 << 62
"""Set in the number of a set that holds what is popular in a country."""


class Admission(Struct, frozen=True, gc=False):
    """What one merge has brought into one user's profile, with the records it came in."""

    source: Sequence[str]
    """Topic and partition of each event."""
    offsets: Sequence[int]
    origins: Sequence[bytes]
    events: Sequence[bytes]
    """Packed interactions and queries, in the order in which they came in."""
    arrivals: Sequence[bytes]
    """Origin and identity of all that is not counted yet, these events among them, in order."""
    profile: Profile
    """After the merge."""
    countries: Sequence[str | None] = ()
    """Of each event, where it says so; empty where none does."""


class Pairs(NamedTuple):
    """Pairs of an item or query with an item; four arrays of one length."""

    event: NDArray[np.int64]
    """Which of all events completed the pair; counted over all admissions in their order."""
    one: NDArray[np.uint64]
    """Hash of an item, or of a query (with ``QUERY_MARK``)."""
    other: NDArray[np.uint64]
    times: NDArray[np.int64]
    """Event time of the later of the two, epoch milliseconds."""


class OwnedEvents(NamedTuple):
    """Events of several users, one after the other."""

    owner: NDArray[np.int64]
    """Number of the admission."""
    number: NDArray[np.int64]
    """Among all new events; meaningless in a history."""
    hashes: NDArray[np.uint64]
    times: NDArray[np.int64]
    arrival: NDArray[np.int64]
    """Place among the admission's arrivals; -1 came earlier, ``NEVER`` makes no pairs."""


@lru_cache(maxsize=1 << 14)
def query_hash(text: bytes) -> int:
    """The 48-bit hash, with ``QUERY_MARK``, of a query as a profile keeps it.

    Width, case and spacing of the text make no difference (Unicode NFKC, case folding).
    """
    return text_hash(text.rstrip(b"\0").decode(errors="ignore")) | QUERY_MARK


def new_events(admissions: Sequence[Admission]) -> tuple[OwnedEvents, OwnedEvents]:
    """The interactions and the queries among the new events."""
    interactions, queries = _Found(), _Found()
    number = 0
    for owner, admission in enumerate(admissions):
        arrived = admission.arrivals
        last = len(arrived) - 1
        for record, origin in zip(admission.events, admission.origins, strict=True):
            found = interactions if len(record) == INTERACTIONS.width else queries
            name = origin + record[:IDENTITY_BYTES]
            found.owners.append(owner)
            found.numbers.append(number)
            # As a rule it is the last that came.
            found.arrivals.append(last if arrived[last] == name else arrived.index(name))
            found.records.append(record)
            number += 1
    return interactions.columns(INTERACTIONS.width), queries.columns(QUERIES.width)


def pairs_of(admissions: Sequence[Admission], new: OwnedEvents, asked: OwnedEvents) -> Pairs:
    """Items seen together (both ways), and items chosen after a search.

    Args:
        admissions: whose events make pairs.
        new: their new interactions.
        asked: their new queries, see ``new_events``.
    """
    since = [_since(admission) for admission in admissions]
    seen, searched = _histories(admissions, since, 0), _histories(admissions, since, 1)
    found: list[Pairs] = []

    left, right = _crossed(new, seen, len(admissions))
    near = np.abs(new.times[left] - seen.times[right]) <= TOGETHER_MS
    near &= new.hashes[left] != seen.hashes[right]
    left, right = left[near], right[near]
    times = np.maximum(new.times[left], seen.times[right])
    found.append(Pairs(new.number[left], new.hashes[left], seen.hashes[right], times))
    found.append(Pairs(new.number[left], seen.hashes[right], new.hashes[left], times))

    left, right = _crossed(new, searched, len(admissions))
    left, right = _soon_after(new.times[left], searched.times[right], left, right)
    found.append(Pairs(new.number[left], searched.hashes[right], new.hashes[left], new.times[left]))
    left, right = _crossed(asked, seen, len(admissions))
    right, left = _soon_after(seen.times[right], asked.times[left], right, left)
    found.append(
        Pairs(asked.number[left], asked.hashes[left], seen.hashes[right], seen.times[right])
    )
    return Pairs(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _soon_after(
    chosen_ms: NDArray[np.int64],
    asked_ms: NDArray[np.int64],
    chosen: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    near = (asked_ms <= chosen_ms) & (chosen_ms - asked_ms <= TOGETHER_MS)
    return chosen[near], asked[near]


def _crossed(
    new: OwnedEvents, history: OwnedEvents, owners: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each new event with each one in its user's history that came in before it."""
    lengths = np.bincount(history.owner, minlength=owners)
    starts = np.cumsum(lengths) - lengths
    each = lengths[new.owner]
    left = np.repeat(np.arange(len(new.owner)), each)
    right = np.arange(len(left)) - np.repeat(np.cumsum(each) - each, each)
    right += np.repeat(starts[new.owner], each)
    earlier = history.arrival[right] < new.arrival[left]
    return left[earlier], right[earlier]


@dataclass
class _Found:
    """New events on their way into columns."""

    owners: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)

    def columns(self, width: int) -> OwnedEvents:
        hashes, times = _columns(b"".join(self.records), width)
        owners, numbers, arrivals = (
            np.array(column, np.int64) for column in (self.owners, self.numbers, self.arrivals)
        )
        return OwnedEvents(owners, numbers, hashes, times, arrivals)


def _histories(
    admissions: Sequence[Admission], since: Sequence[bytes], section: int
) -> OwnedEvents:
    """What of the users' histories is late enough to make a pair with a new event."""
    width = (INTERACTIONS, QUERIES)[section].width
    recent: list[bytes] = []
    lengths: list[int] = []
    places: list[int] = []
    arrived: list[int] = []
    start = 0
    for admission, earliest in zip(admissions, since, strict=True):
        history = admission.profile[section]
        end = 0
        while history[end : end + _TIME_BYTES] >= earliest:
            end += width
        if end:
            recent.append(history[:end])
            for nth, each in enumerate(admission.arrivals):
                at = _place(history, each[-IDENTITY_BYTES:], section)
                if 0 <= at * width < end:
                    places.append(start + at)
                    arrived.append(nth)
            start += end // width
        lengths.append(end // width)
    packed = b"".join(recent)
    hashes, times = _columns(packed, width)
    arrival = np.where(_are_linked(packed, section), NEVER, -1)
    arrival[places] = arrived
    owner = np.repeat(np.arange(len(admissions)), lengths)
    return OwnedEvents(owner, owner, hashes, times, arrival)


def _since(admission: Admission) -> bytes:
    """The time, as records begin with it, from which on a pair with a new event is possible."""
    oldest = int.from_bytes(min(admission.events)[:_TIME_BYTES], "big")
    return max(oldest - TOGETHER_MS, 0).to_bytes(_TIME_BYTES, "big")


def _place(history: bytes, identity: bytes, section: int) -> int:
    """Number of the user's own record that begins with these bytes; -1 where there is none.

    Of ids that are each other's a profile holds an event twice, also as an anonymous id's.
    """
    width = (INTERACTIONS, QUERIES)[section].width
    flag, lowest = ((_KIND, LINKED), (width - 1, 1))[section]
    at = history.find(identity)
    while at >= 0 and (at % width or history[at + flag] >= lowest):
        at = history.find(identity, at + 1)
    return at // width if at >= 0 else -1


def _are_linked(records: bytes, section: int) -> NDArray[np.bool_]:
    """Which of the packed records come from an anonymous id."""
    width = (INTERACTIONS, QUERIES)[section].width
    table = np.frombuffer(records, np.uint8).reshape(-1, width)
    return table[:, _KIND] >= LINKED if section == 0 else table[:, -1] > 0


def _columns(records: bytes, width: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of items or queries, and times, of packed records."""
    layout = [("time", "V6"), ("event", "V4"), ("what", f"V{width - IDENTITY_BYTES}")]
    table = np.frombuffer(records, np.dtype(layout))
    times = unsigned(table["time"]).astype(np.int64)
    if width == INTERACTIONS.width:
        return unsigned(np.ascontiguousarray(table["what"]).view("V6,V3")["f0"]), times
    hashes = [query_hash(text[:QUERY_BYTES]) for text in table["what"].tolist()]
    return np.array(hashes, np.uint64), times
