"""Ids that are each other's: what a log of them has to make of profiles, and ways to learn it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from model.events import Event, Forget, Identify
from model.traits import pack_traits
from serving.parts import Parts
from serving.profile import Profile, split_stored
from stream.replay.build import build
from stream.replay.event_past import EventPast
from tests.parts import FakeRecord, FlakyStore, records_of, take
from tests.test_profile import Deed, of

IDS = ("ana", "bo", "tablet", "web")
CHANCE_OF_A_CRASH = 0.05
Held = dict[str, tuple[bytes, bytes]]
"""By id the profile as it is stored, and marker, limit and links."""


class RestlessStore(FlakyStore):
    """Lets other workers go first, and breaks off in the middle of some trips."""

    chance: random.Random | None = None
    """Of both; neither happens without."""

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.chance is not None:
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            if calls and self.chance.random() < CHANCE_OF_A_CRASH:
                await super().run(calls[: self.chance.randrange(len(calls) + 1)])
                raise ConnectionError("the answer was lost")
        return await super().run(calls)


def deeds_of(log: Sequence[Event], user_id: str, after: int) -> list[Any]:
    """What was done under an id later than that."""
    return [
        each
        for each in log
        if not isinstance(each, Identify | Forget) and each.user_id == user_id
        if each.time > after
    ]


def expected(log: Sequence[Event]) -> dict[str, Profile]:
    """The profiles that the set of these events makes, in the plainest words.

    Forgotten under an id is what is not later than the newest forget event of the id and of all
    users that it is known to be; taken over is what was done under any id that is known to be this
    one, later than what is forgotten under each of those ids.
    """
    forgotten = dict.fromkeys(IDS, -1)
    links: set[tuple[str, str]] = set()
    for event in log:
        if isinstance(event, Forget):
            forgotten[event.user_id] = max(forgotten[event.user_id], event.time)
        elif isinstance(event, Identify) and event.anonymous_id != event.user_id:
            links.add((event.anonymous_id, event.user_id))
    under: dict[str, set[str]] = {name: set() for name in IDS}
    for _ in IDS:  # no way from one id to another is longer
        for anonymous, known in links:
            under[known] |= {anonymous} | under[anonymous]
            forgotten[anonymous] = max(forgotten[anonymous], forgotten[known])
    found = {}
    for name in IDS:
        limit = max(forgotten[other] for other in (name, *under[name]))
        taken = [deed for other in under[name] for deed in deeds_of(log, other, limit)]
        found[name] = _profile(deeds_of(log, name, forgotten[name]), taken, limit)
    return found


def _profile(own: list[Deed], taken: list[Deed], limit: int) -> Profile:
    traits = Profile(traits=b"".join(pack_traits(each) for each in own if each.time > limit))
    kept = of(own)._replace(traits=b"").merge(traits)
    return kept.merge(of(taken).linked())


async def held(parts: Parts) -> Held:
    """What is stored of all ids, without what stands behind a profile."""
    found: Held = {}
    for each in IDS:
        keys = parts.store.keys(each)
        profile: Any
        identity: Any
        profile, identity = await parts.store.redis.mget(keys.profile, keys.identity)
        found[each] = split_stored(profile)[0].pack(), identity or b""
    return found


def profiles_in(found: Held) -> dict[str, Profile]:
    """By id."""
    return {each: split_stored(profile)[0] for each, (profile, _) in found.items()}


def shuffled(log: Sequence[Event], rng: random.Random) -> list[Event]:
    """The same events in another order."""
    return rng.sample(log, len(log))


def partitioned(events: Sequence[Event]) -> list[FakeRecord]:
    """A record of each event, what is done under an id in a partition of its own."""
    ends = dict.fromkeys(IDS, 0)
    records = []
    for event in events:
        (record,) = records_of([event], first=ends[event.user_id])
        ends[event.user_id] += 1
        records.append(replace(record, partition=IDS.index(event.user_id)))
    return records


async def live_through(parts: Parts, log: Sequence[Event]) -> None:
    """Learn event after event."""
    for record in partitioned(log):
        await take(parts, [record])


async def live_through_side_by_side(parts: Parts, log: Sequence[Event], rng: random.Random) -> None:
    """A worker for each partition, all at once, each in cuts of its own; what one was at when it
    crashed, and some of what it had done before, comes again."""
    store, records = parts.store, partitioned(log)
    assert isinstance(store, RestlessStore)
    store.chance = rng
    workers = [
        _work(parts.of_generation(store.generation), mine, rng)
        for partition in range(len(IDS))
        if (mine := [each for each in records if each.partition == partition])
    ]
    await asyncio.gather(*workers)
    store.chance = None


async def _work(parts: Parts, records: Sequence[FakeRecord], rng: random.Random) -> None:
    start = acknowledged = 0
    while start < len(records):
        end = start + rng.randrange(1, 5)
        try:
            await take(parts, records[start:end])
        except ConnectionError:
            start = acknowledged
            continue
        start = end
        if rng.random() < 0.5:
            acknowledged = end


async def replayed(
    parts: Parts, generation: int, events: Sequence[Event], batch: int = 500
) -> Held:
    """What a replay into a shadow leaves."""
    shadow = parts.for_past(generation)
    await build(shadow, EventPast("log", events, batch=batch), {})
    return await held(shadow)
