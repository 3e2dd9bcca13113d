"""A header name of any bytes is read, and the records around it too."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from stream.header_names import TolerantRecords, read_any_header_name
from tests.backends import Broker
from tests.kafka_log import read

pytestmark = pytest.mark.either_backend

BAD = b"\xff\xfe\x00a"


class Bytes(str):
    """A header name that goes over the wire as `BAD`, as a client in C would send it."""

    def encode(self, *_: Any) -> bytes:
        return BAD


@pytest.fixture(autouse=True)
def tolerant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patched for the test only."""
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    for module in (message_accumulator, producer):
        # The compiled builder takes no other names than Python's own strings.
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    read_any_header_name()
    assert fetcher.MemoryRecords is TolerantRecords


async def write(broker: Broker, topic: str, codec: str | None) -> None:
    """One batch: good, bad, good, with an empty value, a null one, and a null header."""
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, compression_type=codec, linger_ms=200
    ) as sender:
        sent = [
            await sender.send(topic, b"1", key=b"k", headers=[("fine", b"\xff")], partition=0),
            await sender.send(topic, b"2", headers=[(Bytes(), b"v"), ("茶", None)], partition=0),
            await sender.send(topic, None, key=b"3", headers=[], partition=0),
            await sender.send(topic, b"", headers=[(Bytes(), b"")], partition=0),
        ]
        await asyncio.gather(*sent)


@pytest.mark.parametrize("codec", [None, "gzip", "lz4"])
async def test_all_records_are_read(broker: Broker, codec: str | None) -> None:
    topic = f"names-{codec}"
    broker.create_topics({topic: 1})
    await write(broker, topic, codec)
    await write(broker, topic, codec)
    found = (await read(broker.bootstrap, topic))[0]
    name = "\\xff\\xfe\x00a"
    expected = [
        (b"k", b"1", (("fine", b"\xff"),)),
        (None, b"2", ((name, b"v"), ("茶", None))),
        (b"3", None, ()),
        (None, b"", ((name, b""),)),
    ]
    assert [(each.key, each.value, tuple(each.headers)) for each in found] == expected * 2
    assert [each.offset for each in found] == list(range(8))


async def test_aiokafka_alone_gives_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this fails, aiokafka has learned it and `stream.header_names` can go."""
    from aiokafka.record.memory_records import MemoryRecords

    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    broker.create_topics({"alone": 1})
    await write(broker, "alone", None)
    with pytest.raises(UnicodeDecodeError):
        await read(broker.bootstrap, "alone")
