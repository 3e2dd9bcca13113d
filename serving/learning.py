"""From events to profiles: merge into Redis, follow links between ids, count what was new.

Every step may be repeated: a run that broke off anywhere is simply run again, and what was merged
and not yet counted is told by the store (``MergedProfile.is_new``).
"""

from collections.abc import Sequence

from msgspec import Struct

from model.events import Identify
from serving import metrics
from serving.covisits import Admission
from serving.feedback import FeedbackEvent, Response, attribute, observe_feedback
from serving.identities import Deeds, erase, hand_up, identify
from serving.intake import Decoded
from serving.merge import MergedProfile, ProfileUpdate
from serving.parts import Parts
from serving.profile import INTERACTIONS, QUERIES, Profile
from serving.trips import all_of
from serving.waves import ProfileChange, Wave, in_lanes, in_waves


class Learned(Struct, frozen=True, gc=False):
    """What is known of a user after a micro-batch."""

    profile: Profile
    """Of an anonymous id that is a known user: that user's."""
    forgotten_until: int
    """Time of the newest forget event, epoch milliseconds; -1 for none."""


async def learn(parts: Parts, decoded: Sequence[Decoded]) -> dict[str, Learned]:
    """Learn the events of a micro-batch.

    Args:
        parts: where profiles and counts live.
        decoded: in offset order within each partition.

    Returns:
        By user id, of all users whose profiles may have changed.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
    """
    source_of, with_feedback = parts.store.source, parts.store.attribution_ms > 0
    lanes = [
        learn_waves(parts, in_waves(lane, source_of, with_feedback=with_feedback))
        for lane in in_lanes(decoded)
    ]
    learned: dict[str, Learned] = {}
    for of_lane in await all_of(lanes):
        learned |= of_lane
    return learned


async def learn_waves(
    parts: Parts, waves: Sequence[Wave], *, count: bool = True
) -> dict[str, Learned]:
    """Merge each wave into the users' profiles, then add what was new to the shared counts.

    Args:
        parts: where profiles and counts live.
        waves: of one micro-batch, in order.
        count: False leaves the shared counts alone.

    Returns:
        By user id, of all users in the waves.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
    """
    learned: dict[str, Learned] = {}
    for wave in waves:
        learned |= await _merge(parts, wave.changes, wave.feedback if count else (), count)
        if wave.forgets:
            learned |= await _forget(parts, wave.forgets)
        if wave.identifications:
            learned |= await _identify(parts, wave.identifications)
    return learned


async def _merge(
    parts: Parts,
    changes: dict[str, ProfileChange],
    feedback: Sequence[FeedbackEvent],
    count: bool,
) -> dict[str, Learned]:
    updates = [change.update if count else _uncounted(change.update) for change in changes.values()]
    profiles, responses = await _merge_and_attribute(parts, updates, feedback)
    merged = dict(zip(changes, profiles, strict=True))
    _observe(parts, changes, merged)
    if count:
        await parts.counts.add(
            [
                _admission(changes[user], each, parts.counts.by_country)
                for user, each in merged.items()
                if True in each.is_new
            ],
            responses,
        )
    observe_feedback(responses)
    learned = {user: Learned(each.profile, each.forgotten_until) for user, each in merged.items()}
    return learned | await _follow(parts, merged, changes)


async def _merge_and_attribute(
    parts: Parts, updates: Sequence[ProfileUpdate], feedback: Sequence[FeedbackEvent]
) -> tuple[list[MergedProfile], list[Response]]:
    """Both at once: what lists have led to says nothing of profiles."""
    if feedback:
        # Old purchases of a replay are not asked for one by one.
        oldest = parts.now_ms() - parts.store.attribution_ms
        feedback = [each for each in feedback if each.names_list or each.time >= oldest]
    if not feedback:
        return await parts.store.merge(updates), []
    trips = parts.store.merge(updates), attribute(parts.store, feedback)
    merged, responses = await all_of(trips)
    return merged, responses  # type: ignore[return-value]


def _uncounted(update: ProfileUpdate) -> ProfileUpdate:
    """The same records, without asking which of them are new."""
    return ProfileUpdate(update.user, others=_profile_of_update(update))


def _profile_of_update(update: ProfileUpdate) -> Profile:
    """The update's records as they come, each kind in its section."""
    interactions, queries = (
        b"".join(event for event in update.events if len(event) == section.width)
        for section in (INTERACTIONS, QUERIES)
    )
    return Profile(interactions, queries, traits=update.others.traits)


async def _follow(
    parts: Parts, merged: dict[str, MergedProfile], changes: dict[str, ProfileChange]
) -> dict[str, Learned]:
    """Give what anonymous ids did to the users they are known to be; by id the newest of these."""
    linked = {user: each for user, each in merged.items() if each.links}
    known = await hand_up(
        parts,
        [
            Deeds(parts.store.digest(user), each, _profile_of_update(changes[user].update))
            for user, each in linked.items()
        ],
    )
    return {
        user: Learned(each.profile, max(linked[user].forgotten_until, each.forgotten_until))
        for user, each in zip(linked, known, strict=True)
        if each is not None
    }


async def _identify(parts: Parts, events: Sequence[Identify]) -> dict[str, Learned]:
    known = await identify(parts, events)
    return {user: Learned(each.profile, each.forgotten_until) for user, each in known.items()}


async def _forget(parts: Parts, forgets: dict[str, int]) -> dict[str, Learned]:
    digests = {user: parts.store.digest(user) for user in forgets}
    left = await erase(parts, {digests[user]: until for user, until in forgets.items()})
    return {
        user: Learned(left[digest].profile, left[digest].forgotten_until)
        for user, digest in digests.items()
    }


def _observe(
    parts: Parts, changes: dict[str, ProfileChange], merged: dict[str, MergedProfile]
) -> None:
    done = merged.values()
    metrics.NEW_USERS.inc(sum([not each.was_known for each in done]))
    metrics.CONFLICTING_IDS.inc(sum([each.conflicts for each in done]))
    metrics.KNOWN_EVENTS.inc(sum([each.is_new.count(False) for each in done]))
    items = [item for change in changes.values() for item in change.item_ids]
    known, learned = parts.catalog.known(items)
    metrics.NAMED_ITEMS.inc(len(items))
    metrics.UNKNOWN_ITEMS.inc(len(items) - known)
    metrics.UNLEARNED_ITEMS.inc(len(items) - learned)


def _admission(change: ProfileChange, merged: MergedProfile, by_country: bool) -> Admission:
    update, arrivals, profile = change.update, merged.arrivals, merged.profile
    countries = _countries(change) if by_country else ()
    if all(merged.is_new):
        return Admission(
            change.sources, change.offsets, update.origins, update.events, arrivals, profile,
            countries,
        )  # fmt: skip
    new = [at for at, is_new in enumerate(merged.is_new) if is_new]
    return Admission(
        source=[change.sources[at] for at in new],
        offsets=[change.offsets[at] for at in new],
        origins=[update.origins[at] for at in new],
        events=[update.events[at] for at in new],
        arrivals=arrivals,
        profile=profile,
        countries=[countries[at] for at in new] if countries else (),
    )


def _countries(change: ProfileChange) -> Sequence[str | None]:
    contexts = [each.event.context for each in change.events]
    return [context.country if context else None for context in contexts] if any(contexts) else ()


async def current_profile(parts: Parts, user_id: str) -> Profile:
    """What lists of this user are made from now: of an anonymous id that is known, that user's."""
    return (await current_profiles(parts, [user_id]))[0]


async def current_profiles(parts: Parts, user_ids: Sequence[str]) -> list[Profile]:
    """The same of several users: one trip to Redis, and another where some are known users."""
    own = await parts.store.read(user_ids)
    profiles = [each.profile for each in own]
    known = {
        at: links[0]
        for at, each in enumerate(own)
        if (links := [link.digest for link in each.links if link.is_known])
    }
    if known:
        followed = await parts.store.read(list(known.values()))
        for at, stored in zip(known, followed, strict=True):
            profiles[at] = stored.profile
    return profiles
