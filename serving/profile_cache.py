"""Profiles that this worker has merged last, so that the next event need not fetch them again.

A partition's users belong to one worker, so the profile that it has in hand is nearly always the
one in Redis. It then sends the whole new value together with the stamp of the value it was made
from, and the server stores it if that stamp still stands there: no profile travels back, and Lua
makes no string of it beside the new one. Whatever else has happened meanwhile (another worker, a
forget event, a failover that lost writes) has left another stamp or none, and the server merges
the events itself. Stamps are 64 random bits, never counted, so that no other value ever has one.
"""

from collections import OrderedDict
from random import Random

from msgspec import Struct

from model.traits import merge_traits
from serving.functions import MOST_ADMISSIONS, STAMP_BYTES
from serving.merge import ORIGIN_BYTES, MergedProfile, ProfileUpdate, StampedProfile
from serving.profile import (
    IDENTITY_BYTES,
    INTERACTIONS,
    PURCHASES,
    SECTIONS,
    Profile,
    Section,
    is_purchase,
    pack_purchase,
)

_SOURCE_BYTES = 4
_ONE_NEW = (True,)


class Proposal(Struct, frozen=True, gc=False):
    """A value to be stored where the one it was made from still stands."""

    value: bytes | None
    """None where nothing is new: the profile shall only live longer."""
    instead_of: bytes
    """The stamp of the value that it was made from."""
    outcome: StampedProfile
    """If it is stored."""


class ProfileCache:
    """The least recently used go first.

    Args:
        capacity: profiles; one takes about 6 KB of memory. 0 holds none.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: OrderedDict[str, StampedProfile] = OrderedDict()
        self._bits = Random().getrandbits

    def __len__(self) -> int:
        return len(self._held)

    def stamps(self, count: int) -> list[bytes]:
        """For the values that may be written next."""
        size = count * STAMP_BYTES
        bits = self._bits(8 * size).to_bytes(size, "big") if size else b""
        return [bits[at : at + STAMP_BYTES] for at in range(0, size, STAMP_BYTES)]

    def propose(self, key: str, update: ProfileUpdate, stamp: bytes) -> Proposal | None:
        """The new value; None where none is held, or there is more than events and traits.

        What was held is out of the cache until ``keep`` puts it back: while its trip is under way,
        or after a failed one, nobody knows what the server has.
        """
        held = self._held.pop(key, None)
        if held is None or not update.events or not update.holds_own_only:
            return None
        return merge_events(held, update, stamp)

    def keep(self, key: str, stored: StampedProfile) -> MergedProfile:
        """What the server has now."""
        merged = stored.merged
        # Of users with a forget marker or links the server looks at every event itself.
        if self.capacity and stored.stamp and merged.forgotten_until < 0 and not merged.links:
            self._held[key] = stored
            if len(self._held) > self.capacity:
                self._held.popitem(last=False)
        return merged


def merge_events(held: StampedProfile, update: ProfileUpdate, stamp: bytes) -> Proposal:
    """What the server's ``merge`` does with events, for a user without forget marker or links."""
    if (proposal := _put_on_top(held, update, stamp)) is not None:
        return proposal
    sections = list(held.merged.profile)
    admissions = _still_open(held.merged.arrivals, update)
    is_new: list[bool] = []
    sections[3] = _with_traits(sections[3], update)
    conflicts, is_changed = 0, sections[3] != held.merged.profile.traits
    for record, place in zip(update.events, update.origins, strict=True):
        which = 0 if len(record) == INTERACTIONS.width else 1
        kind, admission = SECTIONS[which], place + record[:IDENTITY_BYTES]
        sections[which], at = _insert(sections[which], record, kind)
        if which == 0 and is_purchase(record):
            sections[2], bought_at = _insert(sections[2], pack_purchase(record), PURCHASES)
            is_changed = is_changed or bought_at is not None
        if at is None:
            is_new.append(admission in admissions)
        else:
            is_new.append(True)
            is_changed = True
            admissions.append(admission)
            conflicts += _is_conflict(sections[which], kind.width, at)
    admissions = admissions[-MOST_ADMISSIONS:]
    profile = Profile(*sections)
    merged = MergedProfile(profile, tuple(is_new), admissions, -1, True, conflicts, ())
    if not is_changed:
        return Proposal(None, held.stamp, StampedProfile(merged, held.stamp))
    value = b"".join((profile.header(), *profile, *admissions, stamp))
    return Proposal(value, held.stamp, StampedProfile(merged, stamp))


def _put_on_top(held: StampedProfile, update: ProfileUpdate, stamp: bytes) -> Proposal | None:
    """The usual merge: one click or the like, newer than all that is there; None for any other."""
    profile, record = held.merged.profile, update.events[0]
    width = INTERACTIONS.width
    newest = profile.interactions[:width]
    if len(update.events) > 1 or len(record) != width or record <= newest or is_purchase(record):
        return None
    interactions = record + profile.interactions[: (INTERACTIONS.bound - 1) * width]
    place = update.origins[0]
    source = place[:_SOURCE_BYTES]
    admissions = [  # as in _still_open
        each
        for each in held.merged.arrivals
        if each[:_SOURCE_BYTES] != source or each[:ORIGIN_BYTES] >= place
    ]
    admissions.append(place + record[:IDENTITY_BYTES])
    del admissions[:-MOST_ADMISSIONS]
    conflicts = int(newest[:IDENTITY_BYTES] == record[:IDENTITY_BYTES])
    traits = _with_traits(profile.traits, update)
    merged = Profile(interactions, profile.queries, profile.purchases, traits)
    value = b"".join((merged.header(), *merged, *admissions, stamp))
    outcome = MergedProfile(merged, _ONE_NEW, admissions, -1, True, conflicts, ())
    return Proposal(value, held.stamp, StampedProfile(outcome, stamp))


def _with_traits(traits: bytes, update: ProfileUpdate) -> bytes:
    new = update.others.traits
    return merge_traits(traits, new) if new else traits


def _insert(section: bytes, record: bytes, kind: Section) -> tuple[bytes, int | None]:
    """A section (newest first) with one record more, and its place.

    Returns:
        The place is None where the record is there already, or below a full section's floor.
    """
    width = kind.width
    if record > section[:width]:  # what arrives in order: nothing is newer
        return record + section[: (kind.bound - 1) * width], 0
    low, high = 0, len(section) // width
    while low < high:
        middle = (low + high) // 2
        other = section[middle * width : (middle + 1) * width]
        if other == record:
            return section, None
        if other > record:
            low = middle + 1
        else:
            high = middle
    if low >= kind.bound:
        return section, None
    cut = low * width
    return section[:cut] + record + section[cut : (kind.bound - 1) * width], low


def _is_conflict(section: bytes, width: int, place: int) -> bool:
    """Whether a neighbour of the record there has its time and id, and another content."""
    at = place * width
    identity = section[at : at + IDENTITY_BYTES]
    after = section[at + width : at + width + IDENTITY_BYTES]
    before = section[at - width : at - width + IDENTITY_BYTES] if place else b""
    return identity in (before, after)


def _still_open(admissions: list[bytes], update: ProfileUpdate) -> list[bytes]:
    """A new list of those that may still be asked for.

    A worker merges a partition in order, and only when what came before is counted: what lies
    below its present batch is done.
    """
    if not admissions:
        return []
    lowest: dict[bytes, bytes] = {}
    for place in update.origins:
        lowest.setdefault(place[:_SOURCE_BYTES], place)
    return [
        each for each in admissions if each[:ORIGIN_BYTES] >= lowest.get(each[:_SOURCE_BYTES], b"")
    ]
