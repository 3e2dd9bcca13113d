"""A topic of Kafka as the past: read by assignment, from outside of every group."""

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from model.mapping import Mapping
from serving.intake import NO_MAPPINGS, DeadLetter, Decoded, decode
from stream.fetched_record import FetchedRecord
from stream.kafka import TopicError, kafka_python_reader_arguments
from stream.replay.bad_records import BadRecord
from stream.replay.bulk_records import read_in_bulk
from stream.replay.first_look import LOOK, refuse_foreign
from stream.replay.past import Extent, PastBatch, Position
from stream.replay.time_merge import TimeMerge
from stream.replay.topic_offsets import TopicOffsets
from stream.replay.topic_span import WHOLE, Ranges, Span, ranges_of, refuse_missing
from stream.settings import Settings

BATCH = 5_000
"""Records handed on at once."""
FETCH_BYTES = 8 * 2**20
"""Of all partitions in one fetch, some 30,000 records; a fetch brings a batch of each at least."""
HELD_BYTES = 16 * 2**20
"""Of all partitions, what may wait for a slower one; as Python objects it is five times as much."""
POLL_MS = 200
PATIENCE_S = 60.0
"""A read to which nothing comes for so long will not come to its end."""


def nobody(_: BadRecord) -> None:
    """Hears of no bad record."""


class TopicPast:
    """The records of a topic, partitions interleaved by the time at which Kafka stamped them.

    Each is decoded as a worker decodes it, and its time is held against its stamp: an event from
    the future was refused when it came, and that it is no longer future changes nothing. The ends
    are those found at construction. Nothing joins a group or commits.

    Args:
        settings: brokers and their security.
        topic: by default the events topic.
        span: which part of it.
        mapping: of records that are no events of the contract.
        ranges: found at an earlier start, instead of looking the span up.
        report: gets each record that breaks the contract; what it raises ends the read.

    Raises:
        BrokerError: no broker answers.
        TopicError: the span cannot be read; the message says what to do.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str | None = None,
        span: Span = WHOLE,
        *,
        mapping: Mapping | None = None,
        ranges: Ranges | None = None,
        report: Callable[[BadRecord], None] = nobody,
    ) -> None:
        self.topic = topic or settings.events_topic
        self._settings = settings
        self._span = span
        self._report = report
        self._mappings = NO_MAPPINGS if mapping is None else {self.topic: mapping}
        self.ranges: Ranges = self._look_up() if ranges is None else ranges

    def _look_up(self) -> Ranges:
        with TopicOffsets(self._settings) as offsets:
            return ranges_of(offsets, self.topic, self._span)

    def told(self) -> Sequence[str]:
        """Topic, partitions with their offsets, and the time asked for."""
        lines = [f"topic `{self.topic}` at {self._settings.brokers}, without any consumer group"]
        if self._span.since is not None:
            lines.append(f"stamped from {_clock(self._span.since)}")
        if self._span.until is not None:
            lines.append(f"stamped before {_clock(self._span.until)}")
        filled = {each: found for each, found in self.ranges.items() if found[0] < found[1]}
        for partition, (first, end) in filled.items():
            lines.append(f"partition {partition}: offsets {first:,} to {end - 1:,}")
        if len(filled) < len(self.ranges):
            lines.append(f"{len(self.ranges) - len(filled)} partitions hold nothing of it")
        return lines

    def total(self) -> int | None:
        """Offsets in the span; transactions and compaction leave some of them without a record."""
        return sum(end - first for first, end in self.ranges.values())

    def extent(self) -> Extent:
        """The offsets of each partition."""
        return {self._part(partition): found for partition, found in self.ranges.items()}

    def refuse_foreign(self) -> None:
        """Raise ReplayError where none of the first records makes an event.

        None of them is reported. Raises as `batches` does, too.
        """
        starts = {self._part(each): first for each, (first, _) in self.ranges.items()}
        with closing(self._portions(starts)) as portions:
            records = next(portions, [])[:LOOK]
        decoded, dead = self._decode(records)
        refuse_foreign(
            f"records of topic `{self.topic}`",
            len(records),
            len(decoded),
            len(dead),
            _bad(dead[0]) if dead else None,
            self._mappings.get(self.topic),
        )

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """The events behind a position; see `stream.replay.past.Past`.

        Raises:
            TopicError: an offset is gone before it was read, or nothing comes any more.
        """
        position = {
            self._part(partition): max(first, done.get(self._part(partition), first))
            for partition, (first, _) in self.ranges.items()
        }
        self._refuse_lost(position)
        newest = 0
        for records in self._portions(position):
            decoded, dead = self._decode(records)
            for each in dead:
                self._report(_bad(each))
            for partition, last in {each.partition: each.offset for each in records}.items():
                position[self._part(partition)] = last + 1
            newest = max(newest, max((each.event.time for each in decoded), default=0))
            yield PastBatch(decoded, dict(position), newest)
        ends = {self._part(each): end for each, (_, end) in self.ranges.items()}
        if any(position[part] < end for part, end in ends.items()):
            # Marks of transactions stand there, or what compaction has left out.
            yield PastBatch([], {part: max(position[part], ends[part]) for part in ends}, newest)

    def _decode(self, records: list[FetchedRecord]) -> tuple[list[Decoded], list[DeadLetter]]:
        return decode(records, int(time.time() * 1000), self._mappings, as_stamped=True)

    def _part(self, partition: int) -> str:
        return f"{self.topic}:{partition}"

    def _refuse_lost(self, position: Position) -> None:
        """Offsets that retention has dropped since they were noted, or a topic made anew."""
        with TopicOffsets(self._settings) as offsets:
            places = [TopicPartition(self.topic, each) for each in self.ranges]
            kept, ends = offsets.beginnings(places), offsets.ends(places)
        for place in places:
            at = position[self._part(place.partition)]
            if at < self.ranges[place.partition][1] or at > ends[place]:
                refuse_missing(place, at, kept, ends)

    def _portions(self, position: Position) -> Generator[list[FetchedRecord], None, None]:
        """Records in order, some thousands at a time."""
        at = {each: position[self._part(each)] for each in self.ranges}
        starts = {each: first for each, first in at.items() if first < self.ranges[each][1]}
        waiting: list[FetchedRecord] = []
        with closing(KafkaConsumer(**self._consumer_arguments(len(starts)))) as consumer:
            read_in_bulk(consumer)
            fetch = _Fetch(consumer, self.topic, starts, self.ranges)
            while fetch.goes_on:
                waiting += fetch.next()
                whole = len(waiting) - len(waiting) % BATCH
                for begin in range(0, whole, BATCH):
                    yield waiting[begin : begin + BATCH]
                del waiting[:whole]
        if waiting:
            yield waiting

    def _consumer_arguments(self, partitions: int) -> dict[str, object]:
        return kafka_python_reader_arguments(self._settings) | {
            "max_poll_records": sys.maxsize,  # the bytes are bounded
            "fetch_max_bytes": FETCH_BYTES,
            "max_partition_fetch_bytes": max(FETCH_BYTES // max(partitions, 1), 64 * 1024),
        }


class _Fetch:
    """Polls partitions, holds back those that are far ahead, and sees each one's end."""

    def __init__(
        self,
        consumer: KafkaConsumer,
        topic: str,
        starts: dict[int, int],
        ranges: Ranges,
    ) -> None:
        self._consumer = consumer
        self._places = {each: TopicPartition(topic, each) for each in starts}
        self._ends = {each: ranges[each][1] for each in starts}
        self._held_bytes = HELD_BYTES // max(len(starts), 1)
        self._mean_bytes = 1.0
        self._idle_s = 0.0
        self._unread = set(starts)
        self.merge: TimeMerge[FetchedRecord] = TimeMerge(starts)
        consumer.assign(list(self._places.values()))
        for partition, at in starts.items():
            consumer.seek(self._places[partition], at)
        self._look_for_ends()

    @property
    def goes_on(self) -> bool:
        """Whether more can come."""
        return bool(self._unread)

    def next(self) -> list[FetchedRecord]:
        """The records that are next in order; often none. Raises TopicError."""
        before = time.monotonic()
        try:
            fetched = self._consumer.poll(POLL_MS)
        except OffsetOutOfRangeError as error:
            [(place, at)] = error.args[0].items()
            raise TopicError(
                f"`{place.topic}` partition {place.partition} no longer has offset {at}: its "
                "retention dropped it before it was read; raise the topic's retention, and begin "
                "again further on"
            ) from None
        for place, records in fetched.items():
            if records and records[-1].offset >= self._ends[place.partition]:
                records = [each for each in records if each.offset < self._ends[place.partition]]
            self.merge.add(place.partition, records)
            self._mean_bytes = sum(len(each.value or b"") for each in records) / (len(records) or 1)
        self._idle_s = 0.0 if fetched else self._idle_s + time.monotonic() - before
        if self._idle_s > PATIENCE_S and self._unread:
            lacking = ", ".join(str(each) for each in sorted(self._unread))
            raise TopicError(
                f"nothing came for {PATIENCE_S:.0f} s from partitions {lacking} of "
                f"`{next(iter(self._places.values())).topic}`; run `nextclick check`"
            )
        self._look_for_ends()
        found = self.merge.ready()
        self._hold_back()
        return found

    def _look_for_ends(self) -> None:
        for partition in list(self._unread):
            if self._consumer.position(self._places[partition]) >= self._ends[partition]:
                self._unread.discard(partition)
                self.merge.end(partition)
                self._consumer.pause(self._places[partition])

    def _hold_back(self) -> None:
        paused = self._consumer.paused()
        most = self._held_bytes / (self._mean_bytes + 1)
        for partition in self._unread:
            place, held = self._places[partition], self.merge.held(partition)
            if held > most and place not in paused:
                self._consumer.pause(place)
            elif held <= most / 2 and place in paused:
                self._consumer.resume(place)


def _bad(dead: DeadLetter) -> BadRecord:
    record, error = dead.record, dead.error
    return BadRecord(
        record.topic, record.partition, record.offset, error.reason, str(error), record.value
    )


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
