"""A topic as the past: what is read, in which order, and that nobody notices."""

import threading
from collections.abc import Iterable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from model.events import MAX_FUTURE_MS, Click, encode_event
from model.mapping import Mapping
from stream.kafka import TopicError, kafka_python_arguments, kafka_python_producer_arguments
from stream.replay import topic_past
from stream.replay.bad_pile import BadPile, StrictError
from stream.replay.bad_records import BadRecord
from stream.replay.past import PastBatch
from stream.replay.topic_offsets import TopicOffsets
from stream.replay.topic_past import TopicPast
from stream.replay.topic_span import Span, places_of, time_ms
from stream.settings import Settings
from tests.backends import Broker
from tests.kafka_log import commit
from tests.shop import wait_until

PARTITIONS = 3
START = 1_700_000_000_000
pytestmark = pytest.mark.either_backend

Line = tuple[int, int, bytes]
"""Partition, stamp, value."""


@pytest.fixture
def settings(broker: Broker, request: pytest.FixtureRequest) -> Settings:
    """A topic of the test's own."""
    name = f"events-{request.node.originalname}"
    broker.create_topics({name: PARTITIONS})
    return Settings(brokers=broker.bootstrap, events_topic=name)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_past, "BATCH", 7)


def click(number: int, stamp: int = 0) -> bytes:
    return encode_event(
        Click(event_id=f"e{number}", user_id=f"u{number % 5}", ts=stamp or START, item_id="i")
    )


def lines(count: int) -> list[Line]:
    """A second apart, over all partitions in turn."""
    return [(number % PARTITIONS, START + 1_000 * number, click(number)) for number in range(count)]


def write(settings: Settings, records: Iterable[Line]) -> None:
    with KafkaProducer(**kafka_python_producer_arguments(settings)) as producer:
        sent = [
            producer.send(
                settings.events_topic, value, b"key", partition=partition, timestamp_ms=stamp
            )
            for partition, stamp, value in records
        ]
        for each in sent:
            each.get(30)


def ids(batches: Iterable[PastBatch]) -> list[str]:
    return [each.event.event_id for batch in batches for each in batch.decoded]


def named(numbers: Iterable[int]) -> list[str]:
    return [f"e{number}" for number in numbers]


def test_all_partitions_are_read_as_one_in_the_order_of_their_stamps(settings: Settings) -> None:
    write(settings, sorted(lines(50)))  # partition by partition
    past = TopicPast(settings)
    batches = list(past.batches({}))
    assert ids(batches) == named(range(50))
    assert past.total() == 50
    assert len(batches) == 8
    assert batches[-1].position == {
        f"{settings.events_topic}:{n}": (50 - n + 2) // 3 for n in range(3)
    }
    assert batches[-1].newest == START


def test_records_of_a_partition_never_overtake_each_other(settings: Settings) -> None:
    write(settings, [(0, START + 5 - n, click(n)) for n in range(5)] + [(1, START + 1, click(9))])
    assert ids(TopicPast(settings).batches({})) == ["e9", *named(range(5))]


def test_reading_goes_on_behind_any_position(settings: Settings) -> None:
    write(settings, lines(40))
    batches = list(TopicPast(settings).batches({}))
    assert len(batches) == 6
    for at, batch in enumerate(batches):
        rest = TopicPast(settings).batches(batch.position)
        assert sorted(ids(rest)) == sorted(ids(batches[at + 1 :]))


@pytest.mark.parametrize(
    ("span", "numbers"),
    [
        (Span(partitions=frozenset({1})), range(1, 30, 3)),
        (Span(first={0: 9, 1: 10, 2: 10}), [27]),
        (Span(frozenset({0, 2}), end={0: 2, 2: 1}), [0, 2, 3]),
        (Span(first={2: 8}, end={0: 0, 1: 0}), [26, 29]),
    ],
)
def test_a_part_of_the_topic(
    broker: Broker, span: Span, numbers: Iterable[int], request: pytest.FixtureRequest
) -> None:
    name = f"events-part-{request.node.callspec.indices['span']}"
    broker.create_topics({name: PARTITIONS})
    settings = Settings(brokers=broker.bootstrap, events_topic=name)
    write(settings, lines(30))
    past = TopicPast(settings, span=span)
    assert sorted(ids(past.batches({}))) == sorted(named(numbers))
    assert past.total() == len(list(numbers))


@pytest.mark.parametrize(
    ("span", "sentence"),
    [
        (Span(partitions=frozenset({3})), "has no partition 3; it has 3, from 0 to 2"),
        (Span(first={1: 11}), "partition 1 ends at offset 10 and has no 11 yet"),
        (Span(end={0: 99}), "partition 0 ends at offset 10 and has no 99 yet"),
    ],
)
def test_what_is_not_there_is_told(
    broker: Broker, span: Span, sentence: str, request: pytest.FixtureRequest
) -> None:
    name = f"events-absent-{request.node.callspec.indices['span']}"
    broker.create_topics({name: PARTITIONS})
    settings = Settings(brokers=broker.bootstrap, events_topic=name)
    write(settings, lines(30))
    with pytest.raises(TopicError, match=sentence):
        TopicPast(settings, span=span)


def test_a_topic_that_is_missing_is_told(broker: Broker) -> None:
    settings = Settings(brokers=broker.bootstrap)
    for _ in range(2):
        with pytest.raises(TopicError, match="there is no topic `nothing`"):
            TopicPast(settings, "nothing")


def test_what_comes_after_the_start_is_not_read(settings: Settings) -> None:
    write(settings, lines(10))
    past = TopicPast(settings)
    write(settings, lines(5))
    assert ids(past.batches({})) == named(range(10))
    later = TopicPast(settings, ranges=past.ranges)
    assert ids(later.batches({})) == named(range(10)), "an earlier start is taken up again"


def test_what_breaks_the_contract_is_reported_with_its_place(settings: Settings) -> None:
    write(settings, [(0, START, click(1)), (2, START, b"{"), (2, START + 1, click(2))])
    found: list[BadRecord] = []
    past = TopicPast(settings, report=found.append)
    batches = list(past.batches({}))
    assert ids(batches) == named([1, 2])
    assert batches[-1].position[f"{settings.events_topic}:2"] == 2
    [bad] = found
    assert str(bad).startswith(f"{settings.events_topic}:2:0: malformed_json: ")
    assert bad.value == b"{"


def test_strict_ends_at_the_first_that_breaks_the_contract(settings: Settings) -> None:
    write(settings, [(0, START, click(1)), (0, START, b"[]")])
    past = TopicPast(settings, report=BadPile(strict=True).report)
    with pytest.raises(StrictError, match=rf"{settings.events_topic}:0:1: invalid"):
        list(past.batches({}))


def test_an_event_that_came_from_the_future_stays_refused(settings: Settings) -> None:
    ahead = START + MAX_FUTURE_MS
    write(settings, [(0, START, click(1, ahead)), (0, START, click(2, ahead + 1))])
    found: list[BadRecord] = []
    assert ids(TopicPast(settings, report=found.append).batches({})) == named([1])
    assert [each.reason for each in found] == ["future_time"]


def test_a_mapping_makes_events_of_foreign_records(settings: Settings) -> None:
    foreign = b'{"who": "ana", "what": "tea", "ts": 1700000000000, "type": "click"}'
    write(settings, [(0, START, foreign)])
    mapping = Mapping.renaming(["who=user_id", "what=item_id"])
    [batch] = TopicPast(settings, mapping=mapping).batches({})
    [each] = batch.decoded
    assert isinstance(each.event, Click)
    assert (each.event.user_id, each.event.item_id) == ("ana", "tea")
    assert each.record.value == foreign


def test_offsets_that_were_dropped_since_are_told(settings: Settings) -> None:
    write(settings, lines(10))
    past = TopicPast(settings)
    part = f"{settings.events_topic}:0"
    with pytest.raises(TopicError, match=r"ends at offset 4 and has no 500 yet; was the topic"):
        list(past.batches({part: 500}))


@pytest.fixture
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(**kafka_python_arguments(settings))
    yield client
    client.close()


async def test_the_live_group_is_left_alone(settings: Settings) -> None:
    write(settings, lines(10))
    await commit(settings.brokers, settings.group, settings.events_topic, 1, 2)
    with TopicOffsets(settings) as offsets:
        places = offsets.partitions(settings.events_topic)
        before = offsets.committed(settings.group, places)
        assert before == {places[1]: 2}
        batches = TopicPast(settings).batches({})
        found = ids([next(batches)])
        assert offsets.committed(settings.group, places) == before
        found += ids(batches)
        assert found == named(range(10))
        assert offsets.committed(settings.group, places) == before


@pytest.mark.kafka
def test_members_and_state_of_the_live_group_stay(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    from kafka import KafkaConsumer

    write(settings, lines(10))
    with_group = kafka_python_arguments(settings) | {"group_id": settings.group}
    consumer = KafkaConsumer(
        settings.events_topic, **with_group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    stopped = threading.Event()
    while not consumer.assignment():
        # A poll that ends within a second join loses it: this one ends with the first records.
        consumer.poll(60_000)
    consumer.commit()

    def keep_up() -> None:
        while not stopped.is_set():
            consumer.poll(50)

    member = threading.Thread(target=keep_up)
    member.start()
    try:

        def seen() -> tuple[object, set[str]]:
            group = admin.describe_groups([settings.group])[settings.group]
            members = [
                (each["member_id"], str(each["member_assignment"])) for each in group["members"]
            ]
            offsets = admin.list_group_offsets({settings.group: None})[settings.group]
            groups = {each["group_id"] for each in admin.list_groups()}
            return (group["group_state"], members, sorted(offsets.items())), groups

        before, groups = seen()
        assert ids(TopicPast(settings).batches({})) == named(range(10))
        after, groups_after = seen()
        assert after == before
        assert groups_after <= groups, "Kafka may drop an empty one of another test meanwhile"
    finally:
        stopped.set()
        member.join()
        consumer.close(autocommit=False)


@pytest.mark.kafka
def test_a_time_range_is_what_kafka_has_stamped(settings: Settings) -> None:
    write(settings, lines(30))
    past = TopicPast(settings, span=Span(since=START + 5_000, until=START + 12_000))
    assert ids(past.batches({})) == named(range(5, 12))
    assert past.total() == 7
    assert any("stamped from 2023-11-14T22:13:25.000+00:00" in line for line in past.told())
    late = TopicPast(settings, span=Span(since=START + 60_000))
    assert (late.total(), list(late.batches({}))) == (0, [])


@pytest.mark.kafka
def test_marks_of_transactions_are_no_records(settings: Settings) -> None:
    with KafkaProducer(
        **kafka_python_producer_arguments(settings), transactional_id="past"
    ) as producer:
        producer.init_transactions()
        for number in range(2):
            producer.begin_transaction()
            producer.send(settings.events_topic, click(number), b"k", partition=0)
            producer.commit_transaction()
    # Kafka says that it has committed before it has written the mark.
    wait_until(lambda: TopicPast(settings).total() == 4, "two of the offsets are marks")
    assert ids(TopicPast(settings).batches({})) == named(range(2))


@pytest.mark.kafka
def test_what_retention_has_dropped_is_told(settings: Settings, admin: KafkaAdminClient) -> None:
    write(settings, lines(30))
    past = TopicPast(settings)
    admin.delete_records({TopicPartition(settings.events_topic, 0): 4})
    with pytest.raises(TopicError, match=r"partition 0 no longer has offset 0: its retention"):
        list(past.batches({}))
    with pytest.raises(TopicError, match=r"partition 0 no longer has offset 1: .* before 4"):
        TopicPast(settings, span=Span(first={0: 1}))
    assert len(ids(TopicPast(settings).batches({}))) == 26, "the whole topic is what is left of it"


@pytest.mark.kafka
def test_what_retention_drops_under_a_reader_is_told(
    settings: Settings, admin: KafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_past, "FETCH_BYTES", 1)  # a batch of records a fetch
    for line in lines(30):
        write(settings, [line])
    batches = TopicPast(settings).batches({})
    next(batches)
    admin.delete_records({TopicPartition(settings.events_topic, 0): 10})
    with pytest.raises(TopicError, match=r"partition 0 no longer has offset \d: its retention"):
        list(batches)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1714521600000", 1_714_521_600_000),
        ("2024-05-01", 1_714_521_600_000),
        ("2024-05-01T00:00", 1_714_521_600_000),
        ("2024-05-01T08:00+08:00", 1_714_521_600_000),
        ("2024-05-01T00:00:01Z", 1_714_521_601_000),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, moment: int) -> None:
    assert time_ms(text) == moment


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", ""])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write 2024-05-01T00:00"):
        time_ms(text)


def test_places_are_partitions_with_offsets() -> None:
    assert places_of(["0:1200", "3:0"]) == {0: 1200, 3: 0}
    for text in ("0", "a:1", "1:-2", ":"):
        with pytest.raises(ValueError, match="write PARTITION:OFFSET"):
            places_of([text])
