"""A worker reads the catalogue whole, compacted or not, and follows it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from model.features import Vocabulary
from model.items import Item, encode_item
from serving.catalog import Catalog
from stream.catalog_feed import CatalogFeed
from stream.kafka import TopicError, kafka_python_arguments
from stream.settings import Settings
from tests.apache_kafka import ApacheKafka
from tests.shop import PATIENCE_S, wait_until

NAMES = [f"item-{number}" for number in range(50)]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(Vocabulary(NAMES[:10]))


def write(settings: Settings, items: list[Item], removed: list[str]) -> None:
    producer = KafkaProducer(**kafka_python_arguments(settings))
    for item in items:
        producer.send(settings.catalog_topic, encode_item(item), item.item_id.encode())
    for name in removed:
        producer.send(settings.catalog_topic, None, name.encode())
    producer.flush()
    producer.close()


def known(catalog: Catalog) -> dict[str, str]:
    """Title by id of what may be recommended."""
    rows = catalog.allowed.nonzero()[0].tolist()
    return {catalog.items[row].item_id: catalog.items[row].title for row in rows}


@pytest.mark.either_backend
async def test_it_is_read_whole_and_then_followed(
    stream_settings: Settings, catalog: Catalog
) -> None:
    items = [Item(item_id=name, title=f"old {name}") for name in NAMES]
    write(stream_settings, items, removed=["item-7"])
    feed = CatalogFeed(stream_settings, catalog)
    await feed.read_whole()
    assert known(catalog) == {name: f"old {name}" for name in NAMES if name != "item-7"}

    following = asyncio.create_task(feed.follow())
    changed = Item(item_id="item-1", title="new", available=True)
    sold_out = Item(item_id="item-2", title="old item-2", available=False)
    write(stream_settings, [changed, sold_out, items[7]], removed=["item-3"])
    wanted = {
        **{name: f"old {name}" for name in NAMES if name not in ("item-2", "item-3")},
        "item-1": "new",
    }
    async with asyncio.timeout(PATIENCE_S):
        while known(catalog) != wanted:
            await asyncio.sleep(0.05)
    await feed.stop()
    await following


async def test_a_missing_topic_is_a_sentence(stream_settings: Settings, catalog: Catalog) -> None:
    nowhere = stream_settings.model_copy(update={"catalog_topic": "no-such-catalogue"})
    feed = CatalogFeed(nowhere, catalog)
    with pytest.raises(TopicError, match="nextclick topics"):
        await feed.read_whole()
    await feed.stop()


@pytest.fixture
def compacting(kafka_classpath: Path, tmp_path: Path) -> Iterator[Settings]:
    """Kafka with a cleaner that hardly rests, and a topic that it may clean at once."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    with ApacheKafka(
        kafka_classpath, tmp_path, properties={"log.cleaner.backoff.ms": "100"}
    ) as kafka:
        settings = Settings(brokers=kafka.bootstrap, provider="cpu")
        admin = KafkaAdminClient(**kafka_python_arguments(settings))
        config = {
            "cleanup.policy": "compact",
            "segment.ms": "200",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "100",
        }
        admin.create_topics([NewTopic(settings.catalog_topic, 1, 1, topic_configs=config)])
        admin.close()
        yield settings


def records_in(settings: Settings) -> int:
    """How many records of the catalogue can still be read."""
    consumer = KafkaConsumer(**kafka_python_arguments(settings), auto_offset_reset="earliest")
    place = TopicPartition(settings.catalog_topic, 0)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    count = 0
    while consumer.position(place) < end:
        count += sum(len(records) for records in consumer.poll(500).values())
    consumer.close()
    return count


@pytest.mark.kafka
async def test_gaps_that_compaction_leaves_are_no_obstacle(
    compacting: Settings, catalog: Catalog
) -> None:
    for version in range(4):
        items = [Item(item_id=name, title=f"version {version}") for name in NAMES]
        write(compacting, items, removed=["item-9"])
        time.sleep(0.4)  # a segment must come of age before the cleaner may touch it
    written = 4 * (len(NAMES) + 1)

    def is_compacted() -> bool:
        # Each look also writes: only a further record closes the segment before it.
        write(compacting, [Item(item_id="item-0", title="version 3")], removed=["item-9"])
        return records_in(compacting) < written // 2

    wait_until(is_compacted, "compaction")
    feed = CatalogFeed(compacting, catalog)
    await feed.read_whole()
    await feed.stop()
    assert known(catalog) == {name: "version 3" for name in NAMES if name != "item-9"}
