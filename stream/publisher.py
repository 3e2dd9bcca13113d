"""Delivers what a micro-batch came to: lists and dead letters, acknowledged by the broker."""

import asyncio

from aiokafka import AIOKafkaProducer

from model.events import ContractError
from serving import metrics
from serving.intake import DeadLetter, Record
from serving.recommend import Outcome
from serving.recommendation import encode_recommendation
from stream.deadletter import dead_letter_headers
from stream.kafka import producer_arguments
from stream.settings import Settings


class Publisher:
    """An idempotent producer with acks=all; ``send`` returns once everything is stored."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises aiokafka.errors.KafkaError where no broker answers."""
        producer = AIOKafkaProducer(**producer_arguments(self._settings))
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Flush and close."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, outcome: Outcome) -> None:
        """Publish lists and dead letters and wait until the broker has them.

        Lists of one user keep their order: same key, same partition, one idempotent producer.

        Raises:
            aiokafka.errors.KafkaError: not everything was acknowledged; send all of it again.
        """
        assert self._producer is not None, "start() comes first"
        topic = self._settings.recommendations_topic
        acknowledged = [
            await self._producer.send(topic, encode_recommendation(each), key=each.user_id.encode())
            for each in outcome.lists
        ]
        for letter in outcome.dead_letters:
            acknowledged.append(await self._send_dead_letter(letter))
        await asyncio.gather(*acknowledged)
        for each in outcome.lists:
            metrics.LISTS.labels("search" if each.query is not None else "interaction").inc()

    async def bury(self, record: Record, error: Exception) -> None:
        """Publish a record that the path cannot process as a dead letter, and wait for it.

        Raises:
            aiokafka.errors.KafkaError: it was not acknowledged.
        """
        metrics.DEAD_LETTERS.labels("processing_failed").inc()
        reason = ContractError("processing_failed", f"{type(error).__name__}: {error}")
        await (await self._send_dead_letter(DeadLetter(record, reason)))

    async def _send_dead_letter(self, letter: DeadLetter) -> "asyncio.Future[object]":
        assert self._producer is not None, "start() comes first"
        record = letter.record
        future: asyncio.Future[object] = await self._producer.send(
            self._settings.dlq_topic,
            # A null value would be a tombstone in a compacted dead-letter topic.
            record.value if record.value is not None else b"",
            key=record.key,
            headers=dead_letter_headers(
                letter.error, record.topic, record.partition, record.offset
            ),
        )
        return future
