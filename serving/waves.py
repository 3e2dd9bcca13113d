"""A micro-batch cut into waves: what is merged in one trip and counted before the next.

A wave is a run of records without a gap, so that shared counts may remember one offset for each
partition. It ends where a user would get more events than admissions are kept, and around
``forget`` and ``identify`` events, which take effect between what came before and after them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from model.events import Cart, Click, Favorite, Forget, Identify, Purchase, Rating, Search
from serving.intake import Decoded
from serving.profile import pack_interaction, pack_query
from serving.store import MOST_ADMISSIONS, ProfileUpdate, origin

SourceOf: TypeAlias = Callable[[str, int], str]
"""The name of a topic's partition (``Store.source``)."""


@dataclass
class ProfileChange:
    """What a wave does to one user's profile."""

    update: ProfileUpdate
    events: list[Decoded] = field(default_factory=list)
    """In the order of ``update.events``."""
    item_ids: list[str] = field(default_factory=list)
    """Of the interactions, likewise."""


@dataclass
class Wave:
    """Changes by user; or identify events; or the newest forget time by user."""

    changes: dict[str, ProfileChange] = field(default_factory=dict)
    identifications: list[Identify] = field(default_factory=list)
    forgets: dict[str, int] = field(default_factory=dict)


def in_waves(
    decoded: Iterable[Decoded], source_of: SourceOf, most: int = MOST_ADMISSIONS
) -> list[Wave]:
    """Cut a micro-batch; impressions and attributes change no profile.

    Args:
        decoded: in offset order within each partition.
        source_of: names a partition.
        most: events of one user in a wave.
    """
    waves: list[Wave] = []
    wave = Wave()
    for each in decoded:
        match each.event:
            case Click() | Cart() | Favorite() | Rating() | Purchase() | Search() as event:
                change = wave.changes.get(event.user_id)
                is_full = change is not None and len(change.events) == most
                if is_full or wave.identifications or wave.forgets:
                    waves.append(wave)
                    wave, change = Wave(), None
                if change is None:
                    change = wave.changes[event.user_id] = ProfileChange(
                        ProfileUpdate(event.user_id)
                    )
                _add(change, each, event, source_of)
            case Identify() as event:
                if wave.changes or wave.forgets:
                    waves.append(wave)
                    wave = Wave()
                wave.identifications.append(event)
            case Forget() as event:
                if wave.changes or wave.identifications:
                    waves.append(wave)
                    wave = Wave()
                newest = wave.forgets.get(event.user_id, event.time)
                wave.forgets[event.user_id] = max(event.time, newest)
            case _:
                pass
    if wave.changes or wave.identifications or wave.forgets:
        waves.append(wave)
    return waves


def _add(
    change: ProfileChange,
    decoded: Decoded,
    event: Click | Cart | Favorite | Rating | Purchase | Search,
    source_of: SourceOf,
) -> None:
    update = change.update
    if isinstance(event, Search):
        update.events.append(pack_query(event))
    else:
        update.events.append(pack_interaction(event))
        change.item_ids.append(event.item_id)
    record = decoded.record
    update.origins.append(origin(source_of(record.topic, record.partition), record.offset))
    change.events.append(decoded)
