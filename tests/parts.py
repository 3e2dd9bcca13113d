"""Records, events and a worker's parts on a real Redis: what tests of the serving floor share."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

from prometheus_client import REGISTRY
from redis.asyncio import Redis

from model.bundle import Bundle
from model.events import Click, Event, Forget, Purchase, Search, encode_event
from model.features import Vocabulary
from model.items import Item
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.counts import Counts
from serving.execution import Execution
from serving.intake import decode
from serving.learning import Learned, learn
from serving.new_item_vectors import NewItemVectors
from serving.parts import Parts
from serving.profile import Profile, pack_interaction, pack_purchase
from serving.ranker import Ranker
from serving.store import Store

NOW = 1_780_000_000_000
"""The present of these tests, epoch milliseconds: a Thursday in May 2026, 20:26:40 UTC."""
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

_serial = count()


@dataclass(frozen=True)
class FakeRecord:
    """A Kafka record as the stream hands it over."""

    value: bytes | None
    offset: int
    key: bytes | None = None
    topic: str = "events"
    partition: int = 0
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = NOW


def profile(*, seen: Sequence[str] = (), bought: Sequence[str] = (), until: int = NOW) -> Profile:
    """Of someone who clicked ``seen``, oldest first, a millisecond apart, and bought ``bought``.

    Purchases are in the short form only, all of one day, so that they are no history.
    """
    clicks = [
        Click(event_id=f"seen {at}", user_id="u", ts=until - len(seen) + at, item_id=item)
        for at, item in enumerate(seen)
    ]
    purchases = [
        pack_purchase(pack_interaction(Purchase(event_id="e", user_id="u", ts=until, item_id=item)))
        for item in bought
    ]
    interactions = b"".join(pack_interaction(each) for each in reversed(clicks))
    return Profile(interactions, b"", b"".join(purchases))


def records_of(
    events: Sequence[Event], *, first: int = 0, headers: Sequence[tuple[str, bytes]] = ()
) -> list[FakeRecord]:
    """The records that carry these events, at offsets ``first``, ``first + 1`` and so on."""
    return [
        FakeRecord(encode_event(event), offset, event.user_id.encode(), headers=headers)
        for offset, event in enumerate(events, start=first)
    ]


def click(user_id: str, item_id: str, ts: int = NOW) -> Click:
    """A click; each call makes another event."""
    return Click(event_id=f"click-{next(_serial)}", user_id=user_id, ts=ts, item_id=item_id)


def purchase(user_id: str, item_id: str, ts: int = NOW) -> Purchase:
    """A purchase; each call makes another event."""
    return Purchase(event_id=f"purchase-{next(_serial)}", user_id=user_id, ts=ts, item_id=item_id)


def search(user_id: str, query: str, ts: int = NOW) -> Search:
    """A search; each call makes another event."""
    return Search(event_id=f"search-{next(_serial)}", user_id=user_id, ts=ts, query=query)


def forget(user_id: str, ts: int = NOW) -> Forget:
    """A forget event; each call makes another event."""
    return Forget(event_id=f"forget-{next(_serial)}", user_id=user_id, ts=ts)


class FlakyStore(Store):
    """Breaks off in the middle of a trip, once, when told to."""

    break_at: tuple[str, int] | None = None
    """Function, and how many of the trip's calls still get through."""

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if calls and self.break_at is not None and calls[0][0] == self.break_at[0]:
            through, self.break_at = calls[: self.break_at[1]], None
            await super().run(through)
            raise ConnectionError("the answer was lost")
        return await super().run(calls)


async def take(parts: Parts, records: Sequence[FakeRecord]) -> dict[str, Learned]:
    """Learn one micro-batch; none of it may break the contract."""
    decoded, dead_letters = decode(records, NOW, parts.mappings)
    assert not dead_letters
    return await learn(parts, decoded)


async def take_with_crashes(
    parts: Parts, records: Sequence[FakeRecord], rng: random.Random, functions: Sequence[str]
) -> None:
    """Learn all, with crashes in trips of these functions; what was not acknowledged comes again,
    cut in another way."""
    store = parts.store
    assert isinstance(store, FlakyStore)
    start = acknowledged = 0
    while start < len(records):
        end = start + rng.randrange(1, 12)
        if rng.random() < 0.5:
            store.break_at = rng.choice(functions), rng.randrange(6)
        try:
            await take(parts, records[start:end])
        except ConnectionError:
            start = acknowledged
            continue
        finally:
            store.break_at = None
        start = end
        if rng.random() < 0.5:
            acknowledged = end


def counted(metric: str, **labels: str) -> float:
    """The present value of a counter of this process."""
    return REGISTRY.get_sample_value(f"nextclick_{metric}_total", labels) or 0.0


@asynccontextmanager
async def open_store(
    url: str, *, prefix: str = "nc", kind: type[Store] = Store
) -> AsyncIterator[Store]:
    """A store with its functions loaded, closed at the end."""
    redis = Redis.from_url(url, protocol=2)
    store = kind(redis, prefix=prefix, profile_ttl_ms=30 * DAY_MS, list_ttl_ms=3 * DAY_MS)
    try:
        await store.open()
        yield store
    finally:
        await redis.aclose()


def _new_item_vectors(
    bundle: Bundle | None, catalog: Catalog, ranker: Ranker | None
) -> NewItemVectors | None:
    """Of the catalogue as it is now."""
    if bundle is None or ranker is None or bundle.tower_path is None:
        return None
    vectors = NewItemVectors(bundle.tower_path, catalog, ranker.index)
    while vectors.waiting:
        vectors.take_in()
    return vectors


@asynccontextmanager
async def open_parts(
    url: str,
    items: Sequence[Item] = (),
    *,
    bundle: Bundle | None = None,
    kind: type[Store] = Store,
    **changes: Any,
) -> AsyncIterator[Parts]:
    """A worker's parts; without a bundle they can learn but not rank."""
    async with open_store(url, kind=kind) as store:
        catalog = Catalog(bundle.vocabulary if bundle else Vocabulary([]))
        for item in items:
            catalog.put(item)
        counts = Counts(store, shards=4, half_life_days=14)
        ranker = Ranker(bundle, Execution("cpu")) if bundle else None
        arguments: dict[str, Any] = {
            "bundle": cast(Bundle, bundle),
            "catalog": catalog,
            "store": store,
            "counts": counts,
            "candidates": CandidateSources(catalog, counts, repeat_half_life_days=60),
            "new_item_vectors": _new_item_vectors(bundle, catalog, ranker),
            "ranker": cast(Ranker, ranker),
            "list_length": 10,
            "max_event_age_ms": HOUR_MS,
            "publish_replayed": False,
            "now_ms": lambda: NOW,
        }
        yield Parts(**arguments | changes)
