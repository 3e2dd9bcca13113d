"""Past events as records of the ``events`` topic, and when the broker has them."""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import kafka.record.default_records
from aiokafka.record.util import calc_crc32c
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from model.events import encode_event
from serving.intake import WHOLE, Decoded
from serving.requests import REPLAY_HEADER
from stream.fetched_record import FetchedRecord
from stream.kafka import kafka_python_producer_arguments
from stream.replay.past import Position
from stream.settings import Settings
from stream.tracing import open_tracing

ORIGINAL_TIME = "nextclick-original-time"
"""When Kafka first stamped it, or the event's own time where it came from a file."""
ORIGINAL_PLACE = "nextclick-original-place"
"""TOPIC:PARTITION:OFFSET where it first stood; absent where it came from a file."""
LINGER_MS = 5
"""Fewer, larger batches: a fetch from the embedded broker brings one batch of a partition."""
BATCH_BYTES = 128 * 1024
CLOSE_S = 5.0
ON_THE_WAY = 8
"""Portions that the broker need not have acknowledged when the next one is sent."""
OURS = {REPLAY_HEADER, ORIGINAL_PLACE, ORIGINAL_TIME}
Headers = list[tuple[str, bytes]]


def sum_up_fast() -> None:
    """Have kafka-python sum up its batches in C, as aiokafka does: 40 µs less a record."""
    kafka.record.default_records.calc_crc32c = calc_crc32c


class RecordSender:
    """Sends portions of events and remembers what of the past is acknowledged."""

    def __init__(self, settings: Settings) -> None:
        sum_up_fast()
        self._topic = settings.events_topic
        self._tracing = open_tracing(settings, "nextclick-replay")
        self._timeout_s = 2 * settings.kafka_timeout_s
        self._producer = KafkaProducer(
            **kafka_python_producer_arguments(settings),
            linger_ms=LINGER_MS,
            batch_size=BATCH_BYTES,
            delivery_timeout_ms=int(self._timeout_s * 1000),
        )
        self._on_the_way: deque[tuple[list[FutureRecordMetadata], Position]] = deque()
        self.acknowledged: Position | None = None
        """All before it is with the broker; None: nothing has been yet."""

    def send(self, events: Sequence[Decoded], position: Position) -> None:
        """Send events, behind which the past stands at ``position``.

        Raises:
            kafka.errors.KafkaError: the broker has not taken an earlier one.
        """
        send, topic = self._producer.send, self._topic
        waiting = [
            send(topic, value_of(each), each.event.user_id.encode(), self._headers_of(each))
            for each in events
        ]
        self._on_the_way.append((waiting, position))
        while len(self._on_the_way) > ON_THE_WAY:
            self._wait_for_oldest()

    def on_the_way(self) -> int:
        """How many events the broker may not have yet. Raises as `send` does."""
        while self._on_the_way and all(each.is_done for each in self._on_the_way[0][0]):
            self._wait_for_oldest()
        return sum(len(waiting) for waiting, _ in self._on_the_way)

    def flush(self) -> None:
        """Return when all is acknowledged; raises as `send` does."""
        while self._on_the_way:
            self._wait_for_oldest()

    def close(self) -> None:
        """Close the connections; what is still on the way gets a few seconds to arrive."""
        with suppress(KafkaError):
            self._producer.close(CLOSE_S)
        while self._on_the_way and all(each.succeeded() for each in self._on_the_way[0][0]):
            _, self.acknowledged = self._on_the_way.popleft()
        if self._tracing is not None:
            self._tracing.close()

    def _headers_of(self, each: Decoded) -> Headers:
        headers = headers_of(each)
        return headers if self._tracing is None else self._tracing.created(self._topic, headers)

    def _wait_for_oldest(self) -> None:
        waiting, position = self._on_the_way[0]
        for each in waiting:
            each.get(self._timeout_s)
        self._on_the_way.popleft()
        self.acknowledged = position


def value_of(each: Decoded) -> bytes:
    """The bytes as they came; the event's own where a mapping made it, or there was no record."""
    value = each.record.value if each.part == WHOLE else None
    return encode_event(each.event) if value is None else value


def headers_of(each: Decoded) -> Headers:
    """Those of the record, and what tells of the replay.

    What was replayed before keeps the time and place at which it first came.
    """
    record = each.record
    kept, told = [], dict[str, bytes]()
    for name, value in record.headers or ():
        if name in OURS:
            told[name] = value or b""
        else:
            kept.append((name, value or b""))
    moment, place = each.event.time, b""
    if isinstance(record, FetchedRecord):
        moment = record.timestamp if record.timestamp > 0 else moment
        place = f"{record.topic}:{record.partition}:{record.offset}".encode()
    kept.append((REPLAY_HEADER, b"1"))
    kept.append((ORIGINAL_TIME, told.get(ORIGINAL_TIME) or str(moment).encode()))
    if place := told.get(ORIGINAL_PLACE) or place:
        kept.append((ORIGINAL_PLACE, place))
    return kept
