"""A micro-batch cut into waves: what is merged in one trip and counted before the next.

Of each partition a wave holds a run of records without a gap, so that shared counts may remember
one offset for each partition. The run ends where a user would get more events than admissions are
kept, before a search of a user who has chosen something in it, and behind ``forget`` and
``identify`` events: what came before them is counted by then. Without the second, a search could
push another one out of the profile to which the choice before it belongs.

A record of a mapped topic may hold several events, such as the lines of an order, and a wave may
end between them. Each of them has a number of its own in place of the record's offset, so that
whatever remembers offsets tells them apart.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import Struct

from model.events import (
    Cart,
    Click,
    Favorite,
    Forget,
    Identify,
    Impression,
    Purchase,
    Rating,
    Search,
    User,
)
from model.traits import merge_traits, pack_traits
from serving.feedback import FeedbackEvent, feedback_of
from serving.functions import MOST_ADMISSIONS
from serving.intake import WHOLE, Decoded
from serving.merge import ProfileUpdate, origins_of
from serving.profile import Profile, pack_interaction, pack_query

PARTS = 1_024
"""Places that each record of a mapped topic has for its events, which is more than a mapping makes
of one. Offsets of such a topic may reach 2**38."""
NUMBERED = "/parts"
"""Behind the name of a partition whose events have such offsets: they are not those of records."""
WORTH_LANES = 64
"""Events; a lane has trips of its own, which cost half a millisecond each."""

Deed: TypeAlias = Click | Cart | Favorite | Rating | Purchase | Search
"""What changes a profile."""
SourceOf: TypeAlias = Callable[[str, int], str]
"""The name of a topic's partition (``Store.source``)."""


class ProfileChange(Struct, gc=False):
    """What a wave does to one user's profile."""

    update: ProfileUpdate
    events: list[Decoded]
    """In the order of ``update.events``; so are the following."""
    sources: list[str]
    """Names of the partitions."""
    offsets: list[int]
    item_ids: list[str]
    """Of the interactions."""


@dataclass
class Wave:
    """What is merged and counted together; then what is forgotten, then who is identified."""

    changes: dict[str, ProfileChange] = field(default_factory=dict)
    """By user."""
    feedback: list[FeedbackEvent] = field(default_factory=list)
    forgets: dict[str, int] = field(default_factory=dict)
    """By user the newest time to forget."""
    identifications: list[Identify] = field(default_factory=list)


@dataclass
class _Front:
    """How far the waves have come in one partition."""

    source: str
    origin_of: Callable[[int], bytes]
    """Of an offset."""
    is_numbered: bool
    """Whether its records hold several events, each of which has an offset of its own."""
    wave: int = 0
    is_closed: bool = False
    """A forget or identify event ended this partition's share of the wave."""


def in_waves(
    decoded: Iterable[Decoded],
    source_of: SourceOf,
    most: int = MOST_ADMISSIONS,
    *,
    with_feedback: bool = False,
) -> list[Wave]:
    """Cut a micro-batch; impressions change no profile.

    Args:
        decoded: in offset order within each partition.
        source_of: names a partition.
        most: events of one user in a wave.
        with_feedback: whether to note what events tell of lists, too.
    """
    waves = [Wave()]
    fronts: dict[tuple[str, int], _Front] = {}
    for each in decoded:
        record = each.record
        front = fronts.get((record.topic, record.partition))
        if front is None:
            source = source_of(record.topic, record.partition)
            is_numbered = each.part != WHOLE
            if is_numbered:
                source += NUMBERED
            front = _Front(source, origins_of(source), is_numbered)
            fronts[record.topic, record.partition] = front
        match each.event:
            case Click() | Cart() | Favorite() | Rating() | Purchase() | Search() as event:
                # More than once where the user's events of other partitions fill the next ones.
                while front.is_closed or _must_wait(waves[front.wave], event, most):
                    front.wave, front.is_closed = front.wave + 1, False
                    if front.wave == len(waves):
                        waves.append(Wave())
                _add(waves[front.wave], each, event, front)
                if with_feedback:
                    _note(waves[front.wave], each, front)
            case Impression() if with_feedback:
                _note(_open_wave(waves, front), each, front)
            case User() as event:
                _add_traits(_open_wave(waves, front), event)
            case Forget() as event:
                forgets = waves[front.wave].forgets
                forgets[event.user_id] = max(event.time, forgets.get(event.user_id, 0))
                front.is_closed = True
            case Identify() as event:
                waves[front.wave].identifications.append(event)
                front.is_closed = True
            case _:
                pass
    return waves


def in_lanes(decoded: Sequence[Decoded], worth_lanes: int = WORTH_LANES) -> list[Sequence[Decoded]]:
    """Cut a micro-batch into what may be learnt side by side: other partitions and other users.

    While Redis is at work for one lane, the worker is for the other. ``forget`` and ``identify``
    reach other ids than their own; where there is one of them, all goes one way, and where there
    are fewer than ``worth_lanes`` events.
    """
    kinds = {type(each.event) for each in decoded}
    if len(decoded) < worth_lanes or Forget in kinds or Identify in kinds:
        return [decoded]
    lanes: tuple[list[Decoded], list[Decoded]] = ([], [])
    for each in decoded:
        lanes[each.record.partition % 2].append(each)
    users = {each.event.user_id for each in lanes[0]}
    if not all(lanes) or not users.isdisjoint([each.event.user_id for each in lanes[1]]):
        return [decoded]
    return [*lanes]


def _open_wave(waves: list[Wave], front: _Front) -> Wave:
    if front.is_closed:
        front.wave, front.is_closed = front.wave + 1, False
        if front.wave == len(waves):
            waves.append(Wave())
    return waves[front.wave]


def _must_wait(wave: Wave, event: Deed, most: int) -> bool:
    change = wave.changes.get(event.user_id)
    if change is None:
        return False
    return len(change.events) == most or (isinstance(event, Search) and bool(change.item_ids))


def _note(wave: Wave, decoded: Decoded, front: _Front) -> None:
    offset = decoded.record.offset
    if front.is_numbered:
        offset = offset * PARTS + decoded.part
    told = feedback_of(decoded.event, front.origin_of(offset), front.source, offset)
    if told is not None:
        wave.feedback.append(told)


def _add(
    wave: Wave,
    decoded: Decoded,
    event: Deed,
    front: _Front,
) -> None:
    offset = decoded.record.offset
    if front.is_numbered:
        offset = offset * PARTS + decoded.part
    if isinstance(event, Search):
        packed, item_ids = pack_query(event), []
    else:
        packed, item_ids = pack_interaction(event), [event.item_id]
    origin, change = front.origin_of(offset), wave.changes.get(event.user_id)
    if change is None:
        update = ProfileUpdate(event.user_id, [packed], [origin])
        change = ProfileChange(update, [decoded], [front.source], [offset], item_ids)
        wave.changes[event.user_id] = change
    else:
        change.update.events.append(packed)
        change.update.origins.append(origin)
        change.events.append(decoded)
        change.sources.append(front.source)
        change.offsets.append(offset)
        change.item_ids += item_ids
    if event.context is not None:
        _add_traits(wave, event)


def _add_traits(wave: Wave, event: Deed | User) -> None:
    change = wave.changes.get(event.user_id)
    if change is None:
        change = ProfileChange(ProfileUpdate(event.user_id), [], [], [], [])
        wave.changes[event.user_id] = change
    update, traits = change.update, pack_traits(event)
    if held := update.others.traits:
        traits = merge_traits(held, traits)
    update.others = Profile(traits=traits)
