"""What one worker process holds: it opens the parts, keeps them fresh, and closes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError
from mode import Service
from prometheus_client import start_http_server
from redis.exceptions import RedisError

from model.bundle import BundleError, load_bundle
from serving import metrics
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.counts import Counts
from serving.parts import Parts
from serving.ranker import ProviderError, Ranker
from serving.store import Store
from stream.catalog_feed import CatalogFeed
from stream.publisher import Publisher
from stream.redis_client import redis_client
from stream.settings import Settings

logger = logging.getLogger(__name__)

REFRESH_POPULAR_S = 5.0
START_PATIENCE = 8
"""Tries at start before the worker gives up: about a minute, in which a broker can come up."""

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Worker(Service):
    """Owns the parts of one process. ``await ready()`` before the first micro-batch."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.publisher = Publisher(settings)
        self._parts: Parts | None = None
        self._feed: CatalogFeed | None = None
        self._opened = asyncio.Event()

    async def ready(self) -> Parts:
        """The parts, once all of them are open and the catalogue has been read."""
        await self._opened.wait()
        assert self._parts is not None
        return self._parts

    async def on_start(self) -> None:
        """Open everything; what cannot come right by waiting stops the start."""
        try:
            parts = build_parts(self.settings)
        except (BundleError, ProviderError) as error:
            # A sentence for the person at the terminal; a trace would bury it.
            raise SystemExit(f"nextclick: {error}") from None
        self._parts = parts
        self._feed = CatalogFeed(self.settings, parts.catalog)
        await patiently("Redis", parts.store.open)
        await patiently("Kafka", self.publisher.start)
        await patiently("Kafka", self._feed.read_whole)
        await patiently("Redis", parts.candidates.refresh_popular)
        metrics.PROVIDER.labels(parts.ranker.provider).set(1)
        if self.settings.metrics_port:
            start_http_server(self.settings.metrics_port, addr=self.settings.metrics_bind)
        self._opened.set()
        logger.info("nextclick worker ready")

    async def on_stop(self) -> None:
        """Close everything."""
        if self._feed is not None:
            await self._feed.stop()
        await self.publisher.stop()
        if self._parts is not None:
            await self._parts.store.redis.aclose()

    @Service.task
    async def _follow_catalog(self) -> None:
        await self._opened.wait()
        assert self._feed is not None
        await self._feed.follow()

    @Service.task
    async def _refresh_popular(self) -> None:
        parts = await self.ready()
        while not self.should_stop:
            await self.sleep(REFRESH_POPULAR_S)
            try:
                await parts.candidates.refresh_popular()
            except RedisError as error:
                logger.warning("popular items were not refreshed (%s); trying again", error)


def build_parts(settings: Settings) -> Parts:
    """The parts of the path, not yet connected.

    Raises:
        model.bundle.BundleError: the bundle is missing, damaged or made for other code.
        serving.ranker.ProviderError: the execution provider asked for is not in use.
    """
    bundle = load_bundle(settings.bundle)
    ranker = Ranker(bundle, provider=settings.provider, threads=settings.threads)
    catalog = Catalog(bundle.vocabulary)
    store = Store(
        redis_client(settings),
        prefix=settings.redis_prefix,
        profile_ttl_ms=settings.profile_ttl_days * DAY_MS,
        list_ttl_ms=settings.list_ttl_hours * HOUR_MS,
    )
    manifest = bundle.manifest
    counts = Counts(
        store,
        shards=settings.count_shards,
        half_life_days=manifest.popularity_half_life_days,
    )
    return Parts(
        bundle=bundle,
        catalog=catalog,
        store=store,
        counts=counts,
        candidates=CandidateSources(
            catalog, counts, repeat_half_life_days=manifest.blend.repeat_half_life_days
        ),
        ranker=ranker,
        list_length=settings.list_length,
        max_event_age_ms=settings.max_event_age_s * 1000,
        publish_replayed=settings.publish_replayed,
    )


async def patiently(part: str, step: Callable[[], Awaitable[None]]) -> None:
    """Try a step of the start until the part answers, with back-off; at last let it fail."""
    for attempt in range(START_PATIENCE):
        try:
            return await step()
        except (RedisError, KafkaError, OSError) as error:
            if attempt == START_PATIENCE - 1:
                raise
            wait_s = min(15.0, 0.5 * 2**attempt)
            logger.warning("%s is away (%s); trying again in %.1f s", part, error, wait_s)
            await asyncio.sleep(wait_s)
