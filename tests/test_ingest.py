"""Ingest: every item is in the topic afterwards, or the run says that it is not."""

import json
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from kafka.partitioner import murmur2

from model.items import Item, decode_item, encode_item
from stream import cli
from stream.catalogue_files import read_items
from stream.embedded_broker import EmbeddedBroker
from stream.ingest import ingest
from stream.kafka import TopicError, consumer_arguments
from stream.offsets import OffsetReader
from stream.rows import BadRow
from stream.settings import Settings, settings_environment
from tests.backends import Broker
from tests.command_line import typed

PARTITIONS = 4
pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(broker: Broker, request: pytest.FixtureRequest) -> Settings:
    """A catalogue topic of the test's own."""
    topic = f"catalog-{request.node.originalname}"
    broker.create_topics({topic: PARTITIONS})
    return Settings(brokers=broker.bootstrap, catalog_topic=topic)


async def records(settings: Settings) -> list[ConsumerRecord]:
    """All of the catalogue topic, in order within each partition."""
    async with OffsetReader(settings) as offsets:
        places = await offsets.partitions(settings.catalog_topic)
        beginnings, ends = await offsets.beginnings(places), await offsets.ends(places)
    if beginnings == ends:
        return []
    consumer = AIOKafkaConsumer(**consumer_arguments(settings))
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        consumer.assign(places)
        for place in places:
            consumer.seek(place, beginnings[place])
        while len(found) < sum(ends.values()) - sum(beginnings.values()):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += batch
    finally:
        await consumer.stop()
    return found


async def test_every_item_is_in_the_topic(settings: Settings) -> None:
    items = [Item(item_id=f"茶-{number}", title="🍵" * (number % 9)) for number in range(3_000)]
    written: list[int] = []
    report = await ingest(settings, iter(items), progress=written.append)
    assert (report.rows, report.items, report.dropped) == (3_000, 3_000, 0)
    assert written[-1] == 3_000
    found = await records(settings)
    assert {record.key.decode(): decode_item(record.value) for record in found} == {
        item.item_id: item for item in items
    }
    assert len(found) == 3_000


async def test_an_item_lies_where_every_kafka_client_puts_its_key(settings: Settings) -> None:
    await ingest(settings, [Item(item_id=f"i{number}") for number in range(100)])
    found = await records(settings)
    assert len(found) == 100
    assert len({record.partition for record in found}) == PARTITIONS
    for record in found:
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS


async def test_the_later_of_two_rows_stays(settings: Settings) -> None:
    rows = [Item(item_id="i", price=1), Item(item_id="j"), Item(item_id="i", price=2)]
    report = await ingest(settings, rows)
    assert (report.rows, report.items) == (3, 2)
    last = {record.key: record.value for record in await records(settings)}
    assert decode_item(last[b"i"]).price == 2


async def test_no_items_at_all(settings: Settings) -> None:
    report = await ingest(settings, [])
    assert (report.rows, report.items) == (0, 0)
    assert await records(settings) == []


async def test_a_missing_topic_is_told_and_not_made(broker: Broker) -> None:
    settings = Settings(brokers=broker.bootstrap, catalog_topic="catalog-of-nobody")
    for _ in range(2):
        with pytest.raises(TopicError, match=r"no topic `catalog-of-nobody` .*`nextclick topics`"):
            await ingest(settings, [Item(item_id="i")])


async def test_what_the_broker_drops_is_told() -> None:
    """The embedded broker keeps 5 MB of a partition and acknowledges the rest all the same."""
    with EmbeddedBroker({"catalog": 1}) as broker:
        settings = Settings(brokers=broker.bootstrap, embedded=True)
        items = [Item(item_id=str(number), title="x" * 200) for number in range(40_000)]
        with pytest.raises(TopicError, match=r"of 40,000 items cannot be read back from `catalog`"):
            await ingest(settings, items)
        report = await ingest(settings, items[:10])
        assert report.items == 10


def test_items_of_files_and_the_rows_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title,category,price\n1,Tea,drinks|tea,2.5\n2,,,x\n")
    (tmp_path / "b.jsonl").write_bytes(encode_item(Item(item_id="3")) + b"\n{}\n")
    bad: list[BadRow] = []
    items = list(read_items([tmp_path / "a.csv", tmp_path / "b.jsonl"], bad.append))
    assert items == [
        Item(item_id="1", title="Tea", category=("drinks", "tea"), price=2.5),
        Item(item_id="3"),
    ]
    assert [(row.path.name, row.line) for row in bad] == [("a.csv", 3), ("b.jsonl", 2)]


@pytest.mark.parametrize(("bad_rows", "status"), [(0, 0), (2, 1)])
def test_the_verb_counts_what_it_leaves_out(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad_rows: int,
    status: int,
) -> None:
    topic = f"catalog-verb-{bad_rows}"
    broker.create_topics({topic: PARTITIONS})
    for name, value in settings_environment(
        Settings(brokers=broker.bootstrap, catalog_topic=topic)
    ).items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": "i"}\n' + "{\n" * bad_rows + '{"item_id": "j"}\n')
    monkeypatch.setattr(sys, "argv", ["nextclick", "ingest", str(path), "--json"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["items"], told["bad"], caught.value.code) == (2, bad_rows, status)
    assert captured.err.count(f"{path}:") == bad_rows


@pytest.mark.parametrize("mapping", [None, "movielens"])
def test_the_verb_refuses_a_catalogue_of_something_else(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mapping: str | None,
) -> None:
    topic = f"catalog-foreign-{mapping}"
    broker.create_topics({topic: PARTITIONS})
    settings = Settings(brokers=broker.bootstrap, catalog_topic=topic)
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "items.csv").write_text("sku,name\n1,Tea\n")
    options = ["--mapping", mapping] if mapping else []
    status, out, err = typed(
        monkeypatch, capsys, "ingest", tmp_path / "items.csv", *options, "--json"
    )
    assert (status, out) == (2, "")
    [sentence] = err.splitlines()
    wanted = "`movieId` for `item_id`" if mapping else "`item_id`"
    assert f"has no column {wanted}; it has `sku`, `name`: " in sentence
