"""Where partitions begin and end, and how far a group has come, asked by kafka-python.

Nothing here joins a group, commits, or makes a topic.
"""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream.kafka import (
    TopicError,
    kafka_python_arguments,
    kafka_python_reader_arguments,
    no_topic,
)
from stream.kafka_login import require_broker
from stream.settings import Settings

COORDINATOR_TRIES = 20
"""A group's coordinator moves or loads for seconds after a broker's start: .25 s between tries."""

Offsets = dict[TopicPartition, int]


class Lag(NamedTuple):
    """How far a group is behind, in records."""

    records: int
    beginnings: Offsets
    committed: Offsets
    """Without the partitions for which the group has never committed."""


class TopicOffsets:
    """A context manager. Raises BrokerError where no broker answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_ms = int(settings.kafka_timeout_s * 1000)

    def __enter__(self) -> Self:
        require_broker(self._settings)
        with ExitStack() as stack:
            self._admin = KafkaAdminClient(**kafka_python_arguments(self._settings))
            stack.callback(self._admin.close)
            self._consumer = KafkaConsumer(**kafka_python_reader_arguments(self._settings))
            stack.callback(self._consumer.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, in order. Raises TopicError where there is no such topic."""
        for found in self._admin.describe_topics():
            if found["name"] == topic and found["partitions"]:
                numbers = sorted(each["partition_index"] for each in found["partitions"])
                return [TopicPartition(topic, number) for number in numbers]
        raise no_topic(self._settings, topic)

    def beginnings(self, places: Iterable[TopicPartition]) -> Offsets:
        """The first offset that can still be read."""
        return dict(self._consumer.beginning_offsets(list(places), self._timeout_ms))

    def ends(self, places: Iterable[TopicPartition]) -> Offsets:
        """The offset of the next record."""
        return dict(self._consumer.end_offsets(list(places), self._timeout_ms))

    def since(self, places: Iterable[TopicPartition], time_ms: int) -> Offsets:
        """The first record that Kafka has stamped with this time or later, epoch milliseconds.

        A partition without any is left out.

        Raises:
            TopicError: by the embedded broker, which finds none for any time.
        """
        if self._settings.embedded:
            raise TopicError(
                f"the embedded broker at {self._settings.brokers} knows no offsets by time; name "
                "offsets, or read the whole topic"
            )
        asked = dict.fromkeys(places, time_ms)
        found = self._consumer.offsets_for_times(asked, self._timeout_ms)
        return {place: each.offset for place, each in found.items() if each is not None}

    def committed(self, group: str, places: Iterable[TopicPartition]) -> Offsets:
        """The group's next offset where it has one."""
        wanted = list(places)
        for attempt in range(COORDINATOR_TRIES):
            try:
                found = self._admin.list_group_offsets({group: wanted})[group]
                break
            except KafkaError as error:
                if not error.retriable or attempt == COORDINATOR_TRIES - 1:
                    raise
            time.sleep(0.25)
        return {place: each.offset for place, each in found.items() if each.offset >= 0}

    def lag(self, group: str, places: Iterable[TopicPartition]) -> Lag:
        """Records between the group's commits and the ends.

        A partition without a commit counts from its beginning: there the group will start.
        """
        wanted = list(places)
        committed = self.committed(group, wanted)
        beginnings = self.beginnings(wanted)
        ends = self.ends(wanted)
        records = sum(
            max(ends[place] - max(committed.get(place, 0), beginnings[place]), 0)
            for place in wanted
        )
        return Lag(records, beginnings, committed)
