"""Sending dead letters back to the topics of events, and keeping a note of it.

The note stands in the dead-letter topic itself, in records that are no dead letters
(`REDRIVE_NOTE`), so that everybody who looks sees it, and it goes when the dead letters go.
"""

import asyncio
import json
from collections.abc import Collection
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from stream.deadletter import (
    REDRIVE_NOTE,
    REDRIVEN,
    Place,
    StoredDeadLetter,
    stored_dead_letter,
)
from stream.dlq import (
    DeadLetterError,
    Ranges,
    dead_letter_records,
    not_there,
    noted_places,
    stored_ranges,
)
from stream.kafka import producer_arguments
from stream.settings import Settings

CHUNK = 500
"""Records sent between two looks at their acknowledgements; one note a partition names them."""
CHUNK_BYTES = 16 * 2**20


class RedriveReport(NamedTuple):
    """What a redrive did, or would do. Counts of dead letters."""

    sent: int
    already: int = 0
    """Left out: sent back before."""
    elsewhere: int = 0
    """Left out: they came from a topic that events of these settings do not come from."""
    truncated: int = 0
    """Left out: the dead-letter topic could not take the whole record."""


async def redrive(
    settings: Settings,
    *,
    places: Collection[Place] = (),
    reason: str | None = None,
    dry_run: bool = False,
) -> RedriveReport:
    """Send dead letters back to where they came from and note it; returns when Kafka has both.

    Key, value and headers are those of the original record, and `REDRIVEN` names the dead letter.
    Dead letters that come while this runs, its own included, are left for the next time. A crash
    between record and note makes the next redrive send the record again, which profiles, being
    sets, do not feel.

    Args:
        settings: brokers and topics.
        places: just these, whether they were sent back before or not. Empty: all that were not.
        reason: of all that were not, only those with it.
        dry_run: send nothing.

    Raises:
        BrokerError: no broker answers.
        DeadLetterError: a place holds no dead letter, or one that cannot be sent back (nothing is
            sent then); or Kafka has not acknowledged all.
        TopicError: a topic is missing, or cannot be read to its end.
    """
    ranges = await stored_ranges(settings)
    if places:
        ranges = _narrowed(settings, ranges, places)
    redriven = await _survey(settings, ranges, set(places))
    already = elsewhere = truncated = 0
    async with AIOKafkaProducer(**producer_arguments(settings), linger_ms=5) as producer:
        sender = _Sender(settings, producer, dry_run)
        async with aclosing(dead_letter_records(settings, ranges)) as records:
            async for record in records:
                letter = stored_dead_letter(record)
                if letter is None or (places and letter.place not in places):
                    continue
                if reason not in (None, letter.reason):
                    continue
                if not places and letter.place in redriven:
                    already += 1
                elif letter.topic not in settings.source_topics:
                    elsewhere += 1
                elif letter.is_truncated:
                    truncated += 1
                else:
                    await sender.send(letter)
        await sender.flush()
    return RedriveReport(sender.sent, already, elsewhere, truncated)


class _Sender:
    """Sends letters in chunks, each acknowledged and noted before the next."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, dry_run: bool) -> None:
        self._settings = settings
        self._producer = producer
        self._dry_run = dry_run
        self._chunk: list[StoredDeadLetter] = []
        self._bytes = 0
        self.sent = 0

    async def send(self, letter: StoredDeadLetter) -> None:
        """Send one, now or with those that follow."""
        if self._dry_run:
            self.sent += 1
            return
        self._chunk.append(letter)
        self._bytes += len(letter.value or b"")
        if len(self._chunk) >= CHUNK or self._bytes >= CHUNK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send what waits. Raises DeadLetterError where Kafka has not taken all of it."""
        results = await asyncio.gather(
            *[self._send_back(letter) for letter in self._chunk], return_exceptions=True
        )
        done = [
            letter.place
            for letter, result in zip(self._chunk, results, strict=True)
            if not isinstance(result, BaseException)
        ]
        await self._note(done)
        self.sent += len(done)
        for letter, result in zip(self._chunk, results, strict=True):
            if isinstance(result, BaseException):
                raise DeadLetterError(
                    f"Kafka has not taken {letter.place} back ({result or type(result).__name__}); "
                    f"{self.sent:,} others are sent and noted; run it again for the rest, or name "
                    "the dead letters to leave this one out"
                ) from result
        self._chunk, self._bytes = [], 0

    async def _send_back(self, letter: StoredDeadLetter) -> None:
        origin = f"{self._settings.dlq_topic}:{letter.place}".encode()
        headers = [(name, value) for name, value in letter.headers if name != REDRIVEN]
        headers.append((REDRIVEN, origin))
        topic = letter.topic
        if letter.key is not None or letter.value is not None:
            await self._producer.send_and_wait(
                topic,
                letter.value,
                key=letter.key,
                headers=headers,
                partition=await self._partition_of(letter),
            )
            return
        # aiokafka sends a record without key and value in a batch of one's own only.
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=headers)
        batch.close()
        partitions = await self._producer.partitions_for(topic)
        partition = letter.partition if letter.partition in partitions else min(partitions)
        await (await self._producer.send_batch(batch, topic, partition=partition))

    async def _partition_of(self, letter: StoredDeadLetter) -> int | None:
        """Where a further topic's records go is its producers' choice; None: as the key says."""
        if letter.topic == self._settings.events_topic:
            return None
        partitions = await self._producer.partitions_for(letter.topic)
        return letter.partition if letter.partition in partitions else None

    async def _note(self, places: list[Place]) -> None:
        by_partition: dict[int, list[int]] = {}
        for place in places:
            by_partition.setdefault(place.partition, []).append(place.offset)
        for partition, offsets in by_partition.items():
            await self._producer.send_and_wait(
                self._settings.dlq_topic,
                json.dumps(offsets).encode(),
                partition=partition,
                headers=[(REDRIVE_NOTE, b"1")],
            )


async def _survey(settings: Settings, ranges: Ranges, named: set[Place]) -> set[Place]:
    """What was sent back before. Raises DeadLetterError unless all named ones can be sent."""
    redriven: set[Place] = set()
    missing = set(named)
    async with aclosing(dead_letter_records(settings, ranges)) as records:
        async for record in records:
            letter = stored_dead_letter(record)
            if letter is None:
                redriven |= noted_places(record)
            elif letter.place in missing:
                missing.discard(letter.place)
                _refuse_unsendable(settings, letter)
    if missing:
        raise not_there(settings, missing)
    return redriven


def _refuse_unsendable(settings: Settings, letter: StoredDeadLetter) -> None:
    if letter.topic not in settings.source_topics:
        raise DeadLetterError(
            f"{letter.place} came from the topic `{letter.topic}`, and events of these settings "
            f"come from `{'`, `'.join(settings.source_topics)}`; correct `events_topic` or "
            "`inputs`, or leave it out"
        )
    if letter.is_truncated:
        raise DeadLetterError(
            f"{letter.place} holds a part of its record only; the whole one is at partition "
            f"{letter.partition}, offset {letter.offset} of `{letter.topic}` for as long as that "
            "keeps it: leave it out"
        )


def _narrowed(settings: Settings, ranges: Ranges, places: Collection[Place]) -> Ranges:
    """The part of the ranges that holds the places."""
    narrowed: Ranges = {}
    for place in places:
        at = TopicPartition(settings.dlq_topic, place.partition)
        stored_first, stored_end = ranges.get(at, (0, 0))
        if stored_first <= place.offset < stored_end:
            first, end = narrowed.get(at, (place.offset, place.offset + 1))
            narrowed[at] = min(first, place.offset), max(end, place.offset + 1)
    return narrowed
