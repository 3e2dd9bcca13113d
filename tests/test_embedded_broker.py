"""The embedded broker: three clients, groups, and the limits that its page documents."""

import asyncio
import os
import struct
from collections.abc import Callable, Iterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from stream.embedded import EmbeddedError
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_gate import Groups, Sync, Versions, answer_probe, parse_versions
from tests.kafka_clients import CLIENTS, PATIENCE_S, SESSION_MS, Record, sample
from tests.kafka_log import committed, ends, read, write

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"events": 16}) as broker:
        yield broker


@pytest.fixture
def topic(broker: EmbeddedBroker, request: pytest.FixtureRequest) -> str:
    """A topic of one partition of the test's own."""
    name = str(request.node.originalname)
    broker.create_topic(name, 1)
    return name


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_read_what_they_wrote(broker: EmbeddedBroker, client: str) -> None:
    broker.create_topic(client, 4)
    records = sample(200)
    errand: Callable[[str, str, Sequence[Record]], list[Record]] = CLIENTS[client]
    assert sorted(errand(broker.bootstrap, client, records), key=str) == sorted(records, key=str)
    offsets = asyncio.run(committed(broker.bootstrap, f"{client}-{client}", client))
    assert sum(offsets.values()) == len(records)


async def test_topics_can_be_added_but_not_twice(broker: EmbeddedBroker) -> None:
    broker.create_topic("late", 3)
    assert await ends(broker.bootstrap, "late") == {0: 0, 1: 0, 2: 0}
    with pytest.raises(EmbeddedError, match="Topic already exists"):
        broker.create_topic("late", 3)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "..", "x" * 250, "a:3,b", "тема"])
def test_names_that_kafka_refuses_are_refused(broker: EmbeddedBroker, name: str) -> None:
    with pytest.raises(EmbeddedError, match="is not a topic name"):
        broker.create_topic(name, 1)
    with pytest.raises(EmbeddedError, match="is not a topic name"):
        EmbeddedBroker({name: 1})


def test_a_topic_without_partitions_is_refused(broker: EmbeddedBroker) -> None:
    with pytest.raises(EmbeddedError, match="needs at least one partition, not 0"):
        broker.create_topic("none", 0)


async def test_members_that_join_at_once_share_the_partitions(broker: EmbeddedBroker) -> None:
    """Without the gate two of the three would be refused with InvalidRequest."""
    for round_ in range(5):
        consumers = [
            AIOKafkaConsumer(
                "events",
                bootstrap_servers=broker.bootstrap,
                group_id=f"at-once-{round_}",
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=500,
            )
            for _ in range(3)
        ]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(consumer.start() for consumer in consumers))
            while sum(len(consumer.assignment()) for consumer in consumers) != 16:
                await asyncio.sleep(0.05)
        shares = [consumer.assignment() for consumer in consumers]
        assert len(frozenset().union(*shares)) == 16
        for consumer in consumers:
            await consumer.stop()


async def test_a_new_group_waits_for_further_members_as_long_as_asked() -> None:
    with EmbeddedBroker({"events": 1}, first_join_ms=600_000) as patient:
        consumer = AIOKafkaConsumer("events", bootstrap_servers=patient.bootstrap, group_id="g")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await consumer.start()
        patient.stop()  # the consumer's farewell would wait for the group too
        await consumer.stop()


async def test_records_and_offsets_survive_an_outage(broker: EmbeddedBroker, topic: str) -> None:
    await write(broker.bootstrap, topic, {0: [b"before"]})
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=topic)
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): 1})
    with broker.outage():
        away = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
        with pytest.raises(KafkaError):
            await away.start()
        await away.stop()
    await write(broker.bootstrap, topic, {0: [b"after"]})
    found = await read(broker.bootstrap, topic)
    assert [record.value for record in found[0]] == [b"before", b"after"]
    assert await committed(broker.bootstrap, topic, topic) == {0: 1}


async def test_a_record_of_two_megabytes_passes(broker: EmbeddedBroker, topic: str) -> None:
    value = os.urandom(2 * MEGABYTE)
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, max_request_size=3 * MEGABYTE
    ) as producer:
        await producer.send_and_wait(topic, value)
    found = await read(broker.bootstrap, topic)
    assert found[0][0].value == value


async def test_five_megabytes_are_kept_of_a_partition(broker: EmbeddedBroker, topic: str) -> None:
    """Acknowledged and lost: what makes `ingest` read back and the replay hold its lag."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        for _ in range(8):
            await producer.send_and_wait(topic, os.urandom(MEGABYTE - 1000), partition=0)
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
        assert (await consumer.end_offsets([place]))[place] == 8
        kept = 8 - (await consumer.beginning_offsets([place]))[place]
    assert 4 <= kept <= 6


def sync_frame(version: int, member: str, assignments: int) -> bytes:
    def string(text: str) -> bytes:
        return struct.pack(">h", len(text)) + text.encode()

    frame = struct.pack(">hhi", 14, version, 7) + struct.pack(">h", -1)
    frame += string("group") + struct.pack(">i", 5) + string(member)
    if version >= 3:
        frame += struct.pack(">h", -1)
    return frame + struct.pack(">i", assignments)


@pytest.mark.parametrize("version", range(4))
def test_sync_requests_are_read(version: int) -> None:
    assert Sync.parse(sync_frame(version, "me", 3)) == Sync("group", 5, "me", 3)


async def test_the_leader_passes_last() -> None:
    groups, passed = Groups(), []
    leader = Sync("group", 5, "leader", 3)

    async def lead() -> None:
        await groups.hold_leader(leader)
        passed.append("leader")

    leading = asyncio.create_task(lead())
    for member in ("a", "a", "b"):  # one asks twice: that counts once
        await asyncio.sleep(0)
        assert not leading.done()
        follower = Sync("group", 5, member, 0)
        await groups.hold_leader(follower)
        groups.count_follower(follower)
        passed.append(member)
    await leading
    assert passed == ["a", "a", "b", "leader"]


async def test_followers_of_an_older_generation_do_not_count() -> None:
    groups = Groups()
    groups.count_follower(Sync("group", 4, "a", 0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await groups.hold_leader(Sync("group", 5, "leader", 2))


async def test_a_lone_member_is_not_held() -> None:
    await Groups().hold_leader(Sync("group", 1, "only", 1))


VERSIONS: Versions = {0: (0, 10), 18: (0, 4)}


def test_the_probe_is_answered_in_every_version() -> None:
    entries = struct.pack(">hhhhhh", 0, 0, 10, 18, 0, 4)
    plain = struct.pack(">ihi", 9, 0, 2) + entries
    assert answer_probe(VERSIONS, 0, 9) == plain
    assert answer_probe(VERSIONS, 1, 9) == answer_probe(VERSIONS, 2, 9) == plain + bytes(4)
    compact = b"\x03" + entries[:6] + b"\0" + entries[6:] + b"\0"
    assert answer_probe(VERSIONS, 3, 9) == struct.pack(">ih", 9, 0) + compact + bytes(5)
    assert answer_probe(VERSIONS, 4, 9) == answer_probe(VERSIONS, 3, 9)
    # What is newer is told so in the oldest version.
    assert answer_probe(VERSIONS, 5, 9) == struct.pack(">ihi", 9, 35, 2) + entries


def test_group_requests_that_the_mock_mangles_are_not_offered() -> None:
    offered = struct.pack(">ihi", 0, 0, 3) + struct.pack(">9h", 0, 0, 10, 11, 0, 6, 13, 0, 4)
    assert parse_versions(offered) == {0: (0, 10), 11: (0, 5), 13: (0, 2)}
