"""The past as a topic of Kafka holds it, read from outside of every group."""

from collections.abc import Iterator, Sequence

from kafka import KafkaConsumer, TopicPartition

from serving.candidates import wall_clock_ms
from serving.intake import decode
from stream.kafka import kafka_python_arguments
from stream.replay.past import PastBatch, Position
from stream.settings import Settings

RECORDS = 5_000
WAIT_MS = 1_000


class TopicPast:
    """The records of a topic, up to where it ends when reading begins.

    Args:
        settings: of the brokers.
        topic: its name.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    def told(self) -> Sequence[str]:
        """What will be read, a line each, for a person."""
        return [f"topic `{self._topic}` at {self._settings.brokers}"]

    def total(self) -> int | None:
        """Nobody knows how many records there are."""
        return None

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """The events behind a position, to the end of the topic as it is now."""
        consumer = KafkaConsumer(
            **kafka_python_arguments(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=4_000_000,
        )
        try:
            numbers = sorted(consumer.partitions_for_topic(self._topic) or ())
            places = [TopicPartition(self._topic, number) for number in numbers]
            ends, first = consumer.end_offsets(places), consumer.beginning_offsets(places)
            start = {
                place: max(done.get(f"{self._topic}:{place.partition}", 0), first[place])
                for place in places
            }
            open_places = [place for place in places if start[place] < ends[place]]
            consumer.assign(open_places)
            for place in open_places:
                consumer.seek(place, start[place])
            while open_places:
                found = consumer.poll(WAIT_MS, max_records=RECORDS)
                records = [
                    record
                    for place, each in found.items()
                    for record in each
                    if record.offset < ends[place]
                ]
                decoded, _ = decode(records, wall_clock_ms())
                position = {
                    f"{self._topic}:{place.partition}": min(consumer.position(place), ends[place])
                    for place in open_places
                }
                newest = max((each.event.time for each in decoded), default=0)
                yield PastBatch(decoded, position, newest)
                open_places = [
                    place
                    for place in open_places
                    if position[f"{self._topic}:{place.partition}"] < ends[place]
                ]
        finally:
            consumer.close()
