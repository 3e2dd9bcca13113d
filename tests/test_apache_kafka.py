"""The real broker that the suite runs on: clients, topic settings, security, restarts."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from model.events import Click
from stream.kafka import aiokafka_arguments, kafka_python_arguments
from stream.kafka_rights import require_rights
from stream.replay.event_past import EventPast
from stream.replay.topic_past import TopicPast
from stream.replay.topic_target import replay
from stream.settings import Settings
from stream.topics import admin_client
from tests.apache_kafka import PASSWORD, USER, ApacheKafka
from tests.backends import Broker
from tests.kafka_clients import CLIENTS, PATIENCE_S, Record, sample
from tests.kafka_log import committed, ends, read, write
from tests.maven import MavenUnreachable, fetch_kafka

pytestmark = pytest.mark.kafka

LISTENERS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


@pytest.fixture(scope="module")
def secure_kafka(
    kafka_classpath: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApacheKafka]:
    """A Kafka of this module's own, to be restarted at will; it makes topics when asked for one."""
    kafka = ApacheKafka(
        kafka_classpath,
        tmp_path_factory.mktemp("secure"),
        listeners=LISTENERS,
        properties={"auto.create.topics.enable": "true"},
    )
    with kafka:
        yield kafka


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_read_what_they_wrote(broker: Broker, client: str) -> None:
    broker.create_topics({client: 4})
    records = sample(200)
    errand: Callable[[str, str, Sequence[Record]], list[Record]] = CLIENTS[client]
    assert sorted(errand(broker.bootstrap, client, records), key=str) == sorted(records, key=str)
    offsets = asyncio.run(committed(broker.bootstrap, f"{client}-{client}", client))
    assert sum(offsets.values()) == len(records)


def test_topic_settings_are_taken(broker: Broker) -> None:
    broker.create_topics({"items": 2}, {"cleanup.policy": "compact", "max.message.bytes": "2000"})
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.create_topics({"more": {"num_partitions": 3, "replication_factor": 1}})
        found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
        assert found["items"] == 2
        assert found["more"] == 3
        resource = ConfigResource("TOPIC", "items", None)
        config = admin.describe_configs([resource], config_filter="all")["topic"]["items"]
        assert config["cleanup.policy"]["value"] == "compact"
        assert config["max.message.bytes"]["value"] == "2000"
    finally:
        admin.close()


def secure_settings(kafka: ApacheKafka, protocol: str, mechanism: str) -> Settings:
    values: dict[str, Any] = {"brokers": kafka.bootstrap_for(protocol), "kafka_security": protocol}
    if protocol.startswith("SASL"):
        values |= {"kafka_username": USER, "kafka_password": PASSWORD}
        values |= {"kafka_sasl_mechanism": mechanism}
    if protocol.endswith("SSL"):
        values |= {"kafka_ca_file": kafka.authority.ca_file}
    return Settings(**values)


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("PLAINTEXT", ""),
        ("SSL", ""),
        ("SASL_PLAINTEXT", "PLAIN"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL_SSL", "PLAIN"),
        ("SASL_SSL", "SCRAM-SHA-256"),
    ],
)
async def test_our_settings_reach_a_secure_kafka(
    secure_kafka: ApacheKafka, protocol: str, mechanism: str
) -> None:
    settings = secure_settings(secure_kafka, protocol, mechanism)
    topic = f"secure-{protocol}-{mechanism}"
    async with AIOKafkaProducer(**aiokafka_arguments(settings)) as producer:
        await producer.send_and_wait(topic, b"secret")
    consumer = AIOKafkaConsumer(topic, **aiokafka_arguments(settings), auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(PATIENCE_S):
        assert (await consumer.getone()).value == b"secret"
    admin = KafkaAdminClient(**kafka_python_arguments(settings))
    try:
        assert topic in admin.list_topics()
    finally:
        admin.close()
    into = settings.model_copy(update={"events_topic": topic})
    event = Click(event_id="e", user_id="u", ts=1_700_000_000_000, item_id="i")
    replay(into, EventPast("one", [event]), {}, max_lag=0)
    [batch] = TopicPast(into).batches({})
    assert [each.event for each in batch.decoded] == [event]


LOADING = KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS


def committed_offset(bootstrap: str, name: str) -> int:
    """Asked with confluent-kafka: aiokafka 0.14 takes a group that is still loading for empty."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name})
    deadline = monotonic() + PATIENCE_S
    try:
        while True:
            try:
                (found,) = consumer.committed([TopicPartition(name, 0)], PATIENCE_S)
            except KafkaException as error:
                # A broker that has just started may not have loaded its groups.
                if error.args[0].code() not in LOADING or monotonic() > deadline:
                    raise
                sleep(0.2)
            else:
                return found.offset
    finally:
        consumer.close()


async def test_to_ask_what_is_allowed_makes_no_topic(secure_kafka: ApacheKafka) -> None:
    settings = Settings(brokers=secure_kafka.bootstrap, events_topic="never-made")
    await require_rights(settings, "worker")
    with admin_client(settings) as admin:
        assert "never-made" not in {each["name"] for each in admin.describe_topics()}


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_records_and_offsets_survive(secure_kafka: ApacheKafka, how: str) -> None:
    bootstrap = secure_kafka.bootstrap
    await write(bootstrap, how, {0: [b"1", b"2", b"3"]})
    async with AIOKafkaConsumer(
        how, bootstrap_servers=bootstrap, group_id=how, auto_offset_reset="earliest"
    ) as consumer:
        async with asyncio.timeout(PATIENCE_S):
            await consumer.getone()
        await consumer.commit()
    if how == "restart":
        secure_kafka.restart()
    else:
        secure_kafka.kill()
        secure_kafka.start()
    assert secure_kafka.bootstrap == bootstrap
    assert [record.value for record in (await read(bootstrap, how))[0]] == [b"1", b"2", b"3"]
    assert committed_offset(bootstrap, how) == 1
    assert await ends(bootstrap, how) == {0: 3}


def test_maven_central_out_of_reach_is_told_as_such(tmp_path: Path) -> None:
    settings = tmp_path / "settings.xml"
    # Port 9 of this machine: nothing answers there.
    settings.write_text(
        f"<settings><localRepository>{tmp_path / 'repository'}</localRepository><mirrors><mirror>"
        "<id>dead</id><mirrorOf>*</mirrorOf><url>http://127.0.0.1:9/</url>"
        "</mirror></mirrors></settings>"
    )
    with pytest.raises(MavenUnreachable, match="Connection refused"):
        fetch_kafka(tmp_path / "cache", settings=settings)
