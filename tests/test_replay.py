"""Replay into the topic: in order, marked, never further ahead of the workers than it may be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)

from model.events import Click, Event, decode_event
from serving.learning import learn_waves
from serving.profile import Profile
from serving.waves import in_waves
from stream.embedded_broker import EmbeddedBroker
from stream.kafka import TopicError, aiokafka_arguments, producer_arguments
from stream.replay import lag_gate
from stream.replay.event_past import EventPast
from stream.replay.lag_gate import LagGate
from stream.replay.past import Position, ReplayError
from stream.replay.record_sender import ORIGINAL_TIME
from stream.replay.topic_offsets import TopicOffsets
from stream.replay.topic_past import TopicPast
from stream.replay.topic_target import ReplayProgress, replay
from stream.settings import Settings
from tests.backends import Broker
from tests.parts import open_parts

PARTITIONS = 4
START = 1_700_000_000_000
pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(broker: Broker, request: pytest.FixtureRequest) -> Settings:
    """A topic and a group of the test's own."""
    name = request.node.originalname
    broker.create_topics({f"events-{name}": PARTITIONS})
    return Settings(brokers=broker.bootstrap, events_topic=f"events-{name}", group=name)


def clicks(count: int) -> list[Event]:
    """Clicks of seven users, a second apart."""
    return [
        Click(event_id=f"e{n}", user_id=f"用户{n % 7}", ts=START + 1_000 * n, item_id="i")
        for n in range(count)
    ]


def past(events: Sequence[Event]) -> EventPast:
    return EventPast("clicks", events, total=len(events))


class Joins(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts how often a group was rebalanced."""

    def __init__(self) -> None:
        self.count = 0

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Not of interest."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Another round."""
        self.count += 1


@asynccontextmanager
async def member(settings: Settings, joins: Joins) -> AsyncIterator[AIOKafkaConsumer]:
    """A worker's consumer that commits when it is told to."""
    consumer = AIOKafkaConsumer(
        **aiokafka_arguments(settings),
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.subscribe([settings.events_topic], listener=joins)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    """So many records."""
    found: list[ConsumerRecord] = []
    while len(found) < count:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            found += batch
    return found


async def test_events_arrive_in_order_keyed_and_marked(settings: Settings) -> None:
    events, steps = clicks(2_000), list[ReplayProgress]()
    report = await asyncio.to_thread(
        replay, settings, past(events), {}, max_lag=0, progress=steps.append
    )
    assert (report.sent, report.first, report.last) == (2_000, events[0].ts, events[-1].ts)
    assert steps[-1] == ReplayProgress(2_000, events[-1].time, -1, {"clicks": 2_000})
    async with member(settings, Joins()) as consumer:
        found = await read(consumer, 2_000)
    assert len(found) == 2_000
    decoded = [decode_event(record.value, START * 2) for record in found]
    assert sorted(decoded, key=lambda event: event.time) == events
    last: dict[str, int] = {}
    for record, event in zip(found, decoded, strict=True):
        assert record.key.decode() == event.user_id
        original = (ORIGINAL_TIME, str(event.time).encode())
        assert tuple(record.headers) == (("nextclick-replay", b"1"), original)
        assert last.get(event.user_id, 0) < event.time
        last[event.user_id] = event.time


async def test_the_group_is_never_left_further_behind_than_asked(settings: Settings) -> None:
    limit, total, joins = 50, 300, Joins()
    async with member(settings, joins) as consumer:
        running = asyncio.create_task(
            asyncio.to_thread(replay, settings, past(clicks(total)), {}, max_lag=limit)
        )
        read_so_far = 0
        while read_so_far < total:
            uncommitted = 0
            # Read until nothing more comes: a replay that did not wait would send on.
            while batches := await consumer.getmany(timeout_ms=150):
                uncommitted += sum(map(len, batches.values()))
            assert uncommitted <= limit
            read_so_far += uncommitted
            await consumer.commit()
        report = await running
    assert report.sent == total
    assert 0 < report.highest_lag <= limit
    assert joins.count == 1, "the replay has joined the group"


def test_a_group_that_reads_nothing_ends_the_replay(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_gate, "STALL_S", 0.5)
    kept: list[Position] = []
    with pytest.raises(ReplayError, match=r"has read nothing .* and is 30 events behind; start"):
        replay(settings, past(clicks(100)), {}, max_lag=30, keep=kept.append)
    assert kept[-1] == {"clicks": 30}, "what was sent is remembered"
    with TopicOffsets(settings) as offsets:
        places = offsets.partitions(settings.events_topic)
        assert offsets.lag(settings.group, places).records == 30


async def test_lag_counts_from_the_commits_of_the_group(settings: Settings) -> None:
    replay(settings, past(clicks(70)), {}, max_lag=0)
    with TopicOffsets(settings) as offsets:
        async with member(settings, Joins()) as consumer:
            places = offsets.partitions(settings.events_topic)
            assert offsets.lag(settings.group, places).records == 70
            assert offsets.committed(settings.group, places) == {}
            await read(consumer, 70)
            await consumer.commit()
            replay(settings, past(clicks(5)), {}, max_lag=0)
            assert offsets.lag(settings.group, places).records == 5
            assert offsets.lag("another-group", places).records == 75


def test_a_replay_goes_on_behind_a_position(settings: Settings) -> None:
    kept: list[Position] = []
    report = replay(settings, past(clicks(20)), {"clicks": 15}, max_lag=0, keep=kept.append)
    assert (report.sent, report.first) == (5, START + 15_000)
    assert kept[-1] == {"clicks": 20}


def test_a_missing_topic_is_told_and_not_made(broker: Broker) -> None:
    settings = Settings(brokers=broker.bootstrap, events_topic="events-of-nobody")
    for _ in range(2):
        with pytest.raises(TopicError, match="there is no topic `events-of-nobody`"):
            replay(settings, past(clicks(1)), {}, max_lag=0)


async def test_events_that_the_broker_drops_unread_end_the_replay() -> None:
    """The embedded broker keeps 5 MB of a partition and acknowledges the rest all the same."""
    with EmbeddedBroker({"events": 1}) as broker:
        settings = Settings(brokers=broker.bootstrap, embedded=True)
        with TopicOffsets(settings) as offsets:
            gate = LagGate(settings, offsets, max_lag=1_000_000)
            gate.wait(1)
            async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
                for _ in range(12):
                    await producer.send_and_wait(settings.events_topic, b"x" * 500_000)
            with pytest.raises(TopicError, match=r"`events` partition 0 dropped \d+ events"):
                gate.wait(1_000_000)


async def test_what_is_sent_twice_changes_no_profile(settings: Settings, redis_url: str) -> None:
    async with open_parts(redis_url, []) as parts:

        async def learned() -> list[Profile]:
            for batch in TopicPast(settings).batches({}):
                await learn_waves(parts, in_waves(batch.decoded, parts.store.source))
            return [await parts.store.profile(f"用户{number}") for number in range(7)]

        replay(settings, past(clicks(100)), {}, max_lag=0)
        once = await learned()
        assert sum(len(each.history().items) for each in once) == 100
        replay(settings, past(clicks(100)), {}, max_lag=0)
        assert await learned() == once
