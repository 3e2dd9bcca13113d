"""What a worker finds: users whose pasts are counted, and a topic full of their next clicks."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaProducer
from redis import Redis

from benchmarks.made_up import LENGTH, item_ids, long_tailed
from benchmarks.profile_contender import TTL_MS, open_store
from model.bundle import load_bundle
from model.events import Click, encode_event
from model.items import Item
from serving.counts import Counts
from serving.covisits import Admission
from serving.merge import origin
from serving.profile import IDENTITY_BYTES, pack_interaction, profile_of
from stream.ingest import ingest
from stream.kafka import producer_arguments
from stream.settings import Settings

TEMPLATES = 64
"""Different pasts; users share them, for packing one takes a millisecond."""
PAST_MS = 40 * 86_400_000
FILL_DEPTH = 500
LINGER_MS = 5
IN_FLIGHT = 10_000
POPULAR_KEY = "plain:popular"
"""Popularity as the plain job counts it."""


@dataclass(frozen=True)
class Crowd:
    """Users, and what they click."""

    users: int
    items: int
    past_events: int = LENGTH + 10
    seed: int = 7

    def user(self, number: int) -> str:
        """A user's id."""
        return f"user-{number}"

    def past_items(self, number: int) -> list[str]:
        """What a user has clicked before, oldest first."""
        chance = np.random.default_rng([self.seed, number % TEMPLATES])
        return [f"item-{item}" for item in long_tailed(chance, self.items, self.past_events)]

    def past(self, number: int, now_ms: int) -> list[Click]:
        """The same as events, at ``past_times``."""
        return [
            Click(
                event_id=f"past-{number % TEMPLATES}-{at}",
                user_id=self.user(number),
                ts=time_ms,
                item_id=item,
            )
            for at, (item, time_ms) in enumerate(
                zip(self.past_items(number), self.past_times(now_ms), strict=True)
            )
        ]

    def past_times(self, now_ms: int) -> list[int]:
        """When everyone clicked before: the last forty days, evenly, epoch milliseconds."""
        pause = PAST_MS // self.past_events
        return [now_ms - PAST_MS + at * pause for at in range(self.past_events)]

    def clicks(self, count: int, *, first: int = 0) -> list[tuple[str, str]]:
        """(user id, item id) of so many clicks; the same ones for the same ``first``."""
        chance = np.random.default_rng([self.seed, 1, first])
        users = chance.integers(0, self.users, count).tolist()
        items = long_tailed(chance, self.items, count)
        return [(self.user(user), f"item-{item}") for user, item in zip(users, items, strict=True)]


def fill_profiles(settings: Settings, crowd: Crowd) -> bytes:
    """Write every user's past into Redis as merges would have left it; returns one value."""
    now_ms = time.time_ns() // 1_000_000
    values = [
        profile_of([pack_interaction(each) for each in crowd.past(number, now_ms)], []).pack()
        for number in range(min(TEMPLATES, crowd.users))
    ]
    keys = open_store(settings.redis_url, settings.redis_prefix).keys
    with Redis.from_url(settings.redis_url) as redis:
        for start in range(0, crowd.users, FILL_DEPTH):
            pipeline = redis.pipeline(transaction=False)
            for number in range(start, min(start + FILL_DEPTH, crowd.users)):
                key = keys(crowd.user(number)).profile
                pipeline.set(key, values[number % TEMPLATES], px=TTL_MS)
            pipeline.execute()
    return values[0]


def fill_counts(settings: Settings, crowd: Crowd) -> None:
    """Count the different pasts in Redis, for the product and for the plain job.

    A worker reads what is popular when it starts, and then every few seconds: without these counts
    it would do a good part of its turn without popular candidates.
    """
    now_ms = time.time_ns() // 1_000_000
    clicks = [
        click
        for number in range(min(TEMPLATES, crowd.users))
        for click in crowd.past(number, now_ms)
    ]
    asyncio.run(_fill_counts(settings, clicks))
    with Redis.from_url(settings.redis_url) as redis:
        redis.zadd(POPULAR_KEY, dict(Counter(click.item_id for click in clicks)))


async def _fill_counts(settings: Settings, clicks: Sequence[Click]) -> None:
    store = open_store(settings.redis_url, settings.redis_prefix)
    half_life_days = load_bundle(settings.bundle).manifest.popularity_half_life_days
    counts = Counts(store, shards=settings.count_shards, half_life_days=half_life_days)
    source = store.source("past", 0)
    origins = [origin(source, offset) for offset in range(len(clicks))]
    events = [pack_interaction(click) for click in clicks]
    admission = Admission(
        source=[source] * len(clicks),
        offsets=range(len(clicks)),
        origins=origins,
        events=events,
        arrivals=[
            place + event[:IDENTITY_BYTES] for place, event in zip(origins, events, strict=True)
        ],
        profile=profile_of([], []),  # clicks of a past lie hours apart and make no pairs
    )
    await store.open()
    try:
        await counts.add([admission])
    finally:
        await store.redis.aclose()


def fill_catalogue(settings: Settings, items: int) -> None:
    """Write the items to the catalogue's topic."""
    asyncio.run(
        ingest(
            settings,
            [Item(item_id=each, title=each, category=("all",)) for each in item_ids(items)],
        )
    )


def fill_events(settings: Settings, clicks: Sequence[tuple[str, str]], *, first: int = 0) -> None:
    """Write clicks of this moment to the events topic; ``first`` numbers the events."""
    asyncio.run(_fill_events(settings, clicks, first))


async def _fill_events(settings: Settings, clicks: Sequence[tuple[str, str]], first: int) -> None:
    arguments = producer_arguments(settings) | {"linger_ms": LINGER_MS}
    async with AIOKafkaProducer(**arguments) as producer:
        pending = []
        for number, (user, item) in enumerate(clicks, start=first):
            event = Click(
                event_id=f"event-{number}",
                user_id=user,
                ts=time.time_ns() // 1_000_000,
                item_id=item,
            )
            pending.append(
                await producer.send(settings.events_topic, encode_event(event), key=user.encode())
            )
            if len(pending) == IN_FLIGHT:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
