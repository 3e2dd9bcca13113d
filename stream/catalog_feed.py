"""Keeps a worker's catalogue true to the ``catalog`` topic: whole at start, then each change."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from model.events import ContractError
from model.items import decode_item
from serving import metrics
from serving.catalog import Catalog
from serving.new_item_vectors import NewItemVectors
from stream.kafka import consumer_arguments
from stream.offsets import OffsetReader
from stream.readiness import told
from stream.settings import Settings

logger = logging.getLogger(__name__)

POLL_MS = 1_000
RETRY_S = 1.0


class CatalogFeed:
    """Reads every partition by assignment: each worker needs the whole catalogue, in no group.

    Args:
        settings: where the topic is.
        catalog: gets the items.
        vectors: makes vectors of those that the network has not learned; None: nothing does.
    """

    def __init__(
        self, settings: Settings, catalog: Catalog, vectors: NewItemVectors | None = None
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._vectors = vectors
        self._next: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._stopped = asyncio.Event()
        self._newest_ms = 0

    async def read_whole(self) -> None:
        """Read from the beginning to the ends as they are now.

        Raises:
            stream.kafka.TopicError: there is no such topic.
            aiokafka.errors.KafkaError: no broker answers.
        """
        async with OffsetReader(self._settings) as offsets:
            places = await offsets.partitions(self._settings.catalog_topic)
            beginnings = await offsets.beginnings(places)
            ends = await offsets.ends(places)
        self._next = dict(beginnings)
        await self._connect()
        while any(self._next[place] < ends[place] for place in places):
            await self._take()
            await self._skip_to_position(ends)
        metrics.CATALOG_ITEMS.set(len(self._catalog))
        logger.info("catalogue read: %d items may be recommended", len(self._catalog))
        if not len(self._catalog):
            logger.warning(
                "the catalogue is empty: lists will be empty until `nextclick ingest` fills `%s`",
                self._settings.catalog_topic,
            )

    async def follow(self) -> None:
        """Apply changes as they come, until ``stop``; a lost broker is waited for."""
        while not self._stopped.is_set():
            try:
                if self._consumer is None:
                    await self._connect()
                if await self._take():
                    metrics.CATALOG_ITEMS.set(len(self._catalog))
            except (KafkaError, OSError) as error:
                if self._stopped.is_set():
                    return
                logger.warning("the catalogue cannot be followed (%s); trying again", told(error))
                await self._disconnect()
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """Close the consumer for good."""
        self._stopped.set()
        await self._disconnect()

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _connect(self) -> None:
        consumer = AIOKafkaConsumer(**consumer_arguments(self._settings))
        try:
            await consumer.start()
            consumer.assign(list(self._next))
            for place, offset in self._next.items():
                consumer.seek(place, offset)
            # aiokafka's stop() raises CancelledError where nothing was awaited since assign().
            await asyncio.sleep(0)
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer

    async def _take(self) -> int:
        assert self._consumer is not None
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=5000)
        for place, records in fetched.items():
            for record in records:
                self._apply(place, record.offset, record.key, record.value)
            self._next[place] = records[-1].offset + 1
            self._newest_ms = max(self._newest_ms, records[-1].timestamp)
            metrics.CATALOG_NEWEST.set(self._newest_ms / 1000)
            await asyncio.sleep(0)
        while self._vectors is not None and self._vectors.waiting:
            self._vectors.take_in()
            await asyncio.sleep(0)
        return sum(map(len, fetched.values()))

    async def _skip_to_position(self, ends: dict[TopicPartition, int]) -> None:
        """Compaction and transactions leave offsets without a record, also the last ones."""
        assert self._consumer is not None
        for place, end in ends.items():
            if self._next[place] < end:
                self._next[place] = max(self._next[place], await self._consumer.position(place))

    def _apply(
        self, place: TopicPartition, offset: int, key: bytes | None, value: bytes | None
    ) -> None:
        try:
            if value is None:
                self._catalog.remove((key or b"").decode())
            else:
                self._catalog.put(decode_item(value))
        except (ContractError, UnicodeDecodeError) as error:
            metrics.BAD_ITEMS.inc()
            logger.error(
                "%s, partition %d, offset %d is no item and was left out: %s",
                place.topic, place.partition, offset, error,
            )  # fmt: skip
