"""The list that a user would get at this moment, from live state, which is left as it is."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import NamedTuple

from serving.explanation import Explanation, explain_user
from serving.generations import live_parts
from serving.parts import Parts, wall_clock_ms
from serving.recommend import recommend_request, request_now
from serving.recommendation import Recommendation
from serving.requests import search_now
from stream.catalog_feed import CatalogFeed
from stream.kafka_login import require_broker
from stream.redis_login import log_in_to_redis
from stream.settings import Settings
from stream.worker import build_parts

ANY_QUERY = "?"


class LookedUp(NamedTuple):
    """A list of this moment."""

    list: Recommendation
    is_known: bool
    """Whether anything is known of the user; else this is what somebody new gets."""
    opened_ms: dict[str, float]
    """Milliseconds until the path could be asked, by what was waited for. A worker has done that
    long ago."""


async def look_up(settings: Settings, user_id: str, query: str | None = None) -> LookedUp:
    """The list of one user, and with a query that of a search of this moment.

    Raises:
        model.events.ContractError: no user can have this id, or no search this query.
        BrokerError, TopicError, KafkaError: Kafka or the catalogue is away.
        RedisError, StoreError: Redis is.
        BundleError, ProviderError, RankerError: the model cannot be run.
        RulesError, TextEncoderError, VectorCacheError: what the settings name cannot be used.
    """
    async with _opened(settings, user_id, query) as (parts, opened_ms):
        steps: dict[str, float] = {}
        request = await request_now(parts, user_id, query, steps)
        made = await recommend_request(parts, request, steps)
        return LookedUp(made, request.is_known, opened_ms)


async def look_into(
    settings: Settings, user_id: str, query: str | None = None
) -> tuple[Explanation, dict[str, float]]:
    """As ``look_up``, with the list taken to pieces, and the milliseconds of ``opened_ms``."""
    async with _opened(settings, user_id, query) as (parts, opened_ms):
        return await explain_user(parts, user_id, query), opened_ms


@asynccontextmanager
async def _opened(
    settings: Settings, user_id: str, query: str | None
) -> AsyncIterator[tuple[Parts, dict[str, float]]]:
    """The parts of a worker, and the milliseconds that each took to be there."""
    # Before the model is loaded, which takes longer. Without a query only the id is looked at.
    search_now(user_id, ANY_QUERY if query is None else query, wall_clock_ms())
    require_broker(settings)
    marks = [("", time.perf_counter())]
    parts = build_parts(settings)
    marks.append(("bundle", time.perf_counter()))
    feed = CatalogFeed(settings, parts.catalog, parts.new_item_vectors)
    try:
        await log_in_to_redis(settings, parts.store.redis)
        await parts.store.open()
        parts = await live_parts(parts)
        marks.append(("redis", time.perf_counter()))
        await feed.read_whole()
        marks.append(("catalogue", time.perf_counter()))
        meaning = parts.catalog.search_index.meaning
        if query is not None and meaning is not None:
            await meaning.encode_pending()
            marks.append(("texts", time.perf_counter()))
        await parts.candidates.refresh_popular()
        marks.append(("popular items", time.perf_counter()))
        yield (
            parts,
            {name: round((end - start) * 1000, 3) for (_, start), (name, end) in pairwise(marks)},
        )
    finally:
        await feed.stop()
        await parts.store.redis.aclose()
