"""Ids that are known to be a user's: what is done under one of them counts for the other.

An ``identify`` event links an anonymous id with a known user, who may himself be an anonymous id
of another one. What is done under an id goes up, to all users that it is known to be, at once or
over others. What is forgotten goes down, to all anonymous ids of the user, and comes up again from
each of them as a limit: nothing that a user has taken over up to that time stays with him, for a
profile does not tell from which id it came.

A link is written before what lies behind it is read, a marker before a limit is handed up, and each
merge tells of what it has found: whoever comes second knows of the first. Every step may be
repeated.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from model.events import Identify
from serving.merge import NOTHING, Link, MergedProfile, ProfileUpdate
from serving.parts import Parts
from serving.profile import Profile


class Deeds(NamedTuple):
    """What was merged into the profile of an id."""

    digest: bytes
    merged: MergedProfile
    """How the id stands after that."""
    records: Profile = NOTHING


async def hand_up(parts: Parts, deeds: Sequence[Deeds]) -> list[MergedProfile | None]:
    """Give what ids did to all users that they are known to be, new or not: twice is once.

    Args:
        parts: where profiles live.
        deeds: of any ids.

    Returns:
        Of each the profile of the user that its newest link names; None where no link does.
    """
    newest: list[MergedProfile | None] = [None] * len(deeds)
    reached: set[tuple[int, bytes]] = set()
    ahead = [(at, each.digest, each.merged) for at, each in enumerate(deeds) if each.merged.links]
    while steps := [
        (at, digest, merged, link)
        for at, digest, merged in ahead
        for link in merged.links
        if link.is_known and (at, link.digest) not in reached
    ]:
        known = await parts.store.merge(
            [
                ProfileUpdate(
                    link.digest,
                    others=deeds[at].records,
                    link=Link(False, link.since, digest),
                    linked_forgotten_until=merged.linked_forgotten_until,
                )
                for at, digest, merged, link in steps
            ]
        )
        ahead = []
        for (at, _, _, link), merged in zip(steps, known, strict=True):
            # Links come newest first.
            newest[at] = newest[at] or merged
            reached.add((at, link.digest))
            ahead.append((at, link.digest, merged))
    return newest


async def erase(parts: Parts, until: Mapping[bytes, int]) -> dict[bytes, MergedProfile]:
    """Forget what was done under ids, and under the anonymous ids that they are known by.

    Args:
        parts: where profiles live.
        until: by digest the time up to which all is forgotten, epoch milliseconds.

    Returns:
        By digest what is left of all ids reached.
    """
    left: dict[bytes, MergedProfile] = {}
    ahead = dict(until)
    while ahead:
        merged = await parts.store.merge(
            [ProfileUpdate(digest, forget_at=time) for digest, time in ahead.items()]
        )
        left |= zip(ahead, merged, strict=True)
        ahead = {}
        for each in merged:
            for link in each.links:
                held, time = left.get(link.digest), each.forgotten_until
                if not link.is_known and (held is None or held.forgotten_until < time):
                    ahead[link.digest] = max(time, ahead.get(link.digest, 0))
    await hand_up(parts, [Deeds(digest, each) for digest, each in left.items()])
    return left


async def identify(parts: Parts, events: Sequence[Identify]) -> dict[str, MergedProfile]:
    """Merge anonymous profiles into known ones, and have what comes later follow.

    The link is written before the anonymous profile is read, in one atomic step: what is merged
    into it afterwards learns of the link. A crash between the two ids is mended by running it
    again.

    Returns:
        By known user the profile.
    """
    digest = parts.store.digest
    events = [event for event in events if event.anonymous_id != event.user_id]
    updates: list[ProfileUpdate] = []
    for event in events:
        anonymous = await parts.store.link(event.anonymous_id, digest(event.user_id), event.time)
        updates.append(
            ProfileUpdate(
                event.user_id,
                others=anonymous.profile,
                link=Link(False, event.time, digest(event.anonymous_id)),
                linked_forgotten_until=anonymous.linked_forgotten_until,
            )
        )
    merged = await parts.store.merge(updates)
    # What the known user has had forgotten is forgotten under the other id too.
    until: dict[bytes, int] = {}
    for event, each in zip(events, merged, strict=True):
        if each.forgotten_until >= 0:
            anonymous_id = digest(event.anonymous_id)
            until[anonymous_id] = max(each.forgotten_until, until.get(anonymous_id, 0))
    await erase(parts, until)
    await hand_up(
        parts,
        [
            Deeds(digest(event.user_id), each, update.others)
            for event, each, update in zip(events, merged, updates, strict=True)
        ],
    )
    return {event.user_id: each for event, each in zip(events, merged, strict=True)}
