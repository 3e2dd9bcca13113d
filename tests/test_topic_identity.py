"""A topic is told from another one of the same name; every client tells the same identity."""

import logging
import time
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

from stream.kafka import TopicError, kafka_python_arguments
from stream.kafka_login import BrokerError
from stream.settings import Settings
from stream.topic_identity import topic_identity
from tests.backends import PATIENCE_S, Broker


@pytest.mark.either_backend
async def test_a_topic_keeps_its_identity_and_shares_it_with_none(
    broker: Broker, stream_settings: Settings
) -> None:
    broker.create_topics({"one": 1, "two": 3})
    one, two = [await topic_identity(stream_settings, name) for name in ("one", "two")]
    assert one != two
    assert [one, two] == [str(UUID(one)), str(UUID(two))]
    assert one == await topic_identity(stream_settings, "one")


@pytest.mark.either_backend
async def test_a_missing_topic_is_told_and_not_made(stream_settings: Settings) -> None:
    for _ in range(2):
        with pytest.raises(TopicError, match=r"no topic `nowhere` .* `nextclick topics`"):
            await topic_identity(stream_settings, "nowhere")


async def test_a_missing_broker_is_told() -> None:
    settings = Settings(brokers="127.0.0.1:1", kafka_timeout_s=1)
    with pytest.raises(BrokerError, match="no Kafka broker answers"):
        await topic_identity(settings, "events")


@pytest.mark.kafka
async def test_every_client_tells_the_same(broker: Broker, stream_settings: Settings) -> None:
    broker.create_topics({"shared": 2})
    ours = await topic_identity(stream_settings, "shared")
    by_name = KafkaAdminClient(**kafka_python_arguments(stream_settings))
    try:
        assert by_name.describe_topics(["shared"])[0]["topic_id"] == ours
    finally:
        by_name.close()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    (described,) = admin.describe_topics(TopicCollection(["shared"])).values()
    number = described.result(PATIENCE_S).topic_id
    assert _uuid(number) == UUID(ours)


def _uuid(number: Any) -> UUID:
    """librdkafka gives two signed halves."""
    high, low = number.get_most_significant_bits(), number.get_least_significant_bits()
    return UUID(int=(high % 2**64 << 64) | low % 2**64)


@pytest.mark.kafka
async def test_a_topic_made_again_is_another(broker: Broker, stream_settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    seen = set()
    for _ in range(3):
        broker.create_topics({"again": 2})
        seen.add(await topic_identity(stream_settings, "again"))
        admin.delete_topics(["again"])["again"].result(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while "again" in admin.list_topics(timeout=PATIENCE_S).topics:
            assert time.monotonic() < deadline, "the topic was never deleted"
            time.sleep(0.05)
    assert len(seen) == 3


class AdminWithoutIds:
    """A fake: an old broker as kafka-python's admin client sees it."""

    ids: Any = "00000000-0000-0000-0000-000000000000"

    def __init__(self, **arguments: Any) -> None:
        pass

    def describe_topics(self) -> list[dict[str, Any]]:
        """No topic ids."""
        return [{"name": name, "topic_id": self.ids} for name in ("events", "catalog")]

    def describe_cluster(self) -> dict[str, Any]:
        """With an id of the cluster."""
        return {"cluster_id": "QV4x"}

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("ids", [AdminWithoutIds.ids, None])
async def test_a_broker_without_ids_gets_a_stable_substitute_and_a_warning(
    stream_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ids: Any,
) -> None:
    monkeypatch.setattr(AdminWithoutIds, "ids", ids)
    monkeypatch.setattr("stream.topics.KafkaAdminClient", AdminWithoutIds)
    with caplog.at_level(logging.WARNING):
        identity = await topic_identity(stream_settings, "events")
    assert identity == "QV4x/events"
    assert identity == await topic_identity(stream_settings, "events")
    assert "set a new NEXTCLICK_REDIS_PREFIX" in caplog.text
