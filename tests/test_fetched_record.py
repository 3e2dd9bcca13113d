"""Our record is aiokafka's, in less time."""

import dataclasses

import pytest
from aiokafka.consumer import fetcher
from aiokafka.structs import ConsumerRecord

from stream.fetched_record import FetchedRecord, fetch_records_fast
from tests.backends import Broker
from tests.kafka_log import read, write

pytestmark = pytest.mark.either_backend


def values(record: ConsumerRecord | FetchedRecord) -> list[object]:
    return [getattr(record, name) for name in FetchedRecord.__struct_fields__]


def test_it_has_the_same_fields_in_the_same_order() -> None:
    ours = FetchedRecord.__struct_fields__
    assert ours == tuple(field.name for field in dataclasses.fields(ConsumerRecord))


async def test_a_consumer_reads_the_same(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.create_topics({"events": 1})
    await write(broker.bootstrap, "events", {0: [b"1", b"", b"3"]})
    theirs = (await read(broker.bootstrap, "events"))[0]
    monkeypatch.setattr(fetcher, "ConsumerRecord", ConsumerRecord)  # for this test only
    fetch_records_fast()
    ours = (await read(broker.bootstrap, "events"))[0]
    assert all(isinstance(record, FetchedRecord) for record in ours)
    assert list(map(values, ours)) == list(map(values, theirs))
