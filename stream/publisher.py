"""Delivers what a micro-batch came to: lists and dead letters, acknowledged by the broker."""

import asyncio
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerClosed

from model.events import ContractError
from serving import metrics
from serving.intake import DeadLetter, Record
from serving.recommend import Outcome
from stream.deadletter import dead_letter_message
from stream.kafka import producer_arguments
from stream.settings import Settings

CLOSE_S = 5.0
"""For the last records at the end; what has not been acknowledged by then is not, and comes again.
"""
FRESH_AFTER = 8
"""Time-outs in a row until a producer that says nothing is replaced: about two minutes."""

Message = tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]
"""Topic, value, key and headers."""


class Publisher:
    """An idempotent producer with acks=all; ``send`` returns once everything is stored.

    While the broker is away the producer keeps what it was given and tries by itself, in order. So
    a ``send`` that timed out is called again with the same outcome and waits for the same records;
    only after a refusal are they given to a new producer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._outcome: Outcome | None = None
        self._messages: list[Message] = []
        self._given: list[asyncio.Future[Any]] = []
        self._timeouts = 0

    async def start(self) -> None:
        """Connect. Raises aiokafka.errors.KafkaError where no broker answers."""
        producer = AIOKafkaProducer(**producer_arguments(self._settings))
        try:
            async with asyncio.timeout(self._patience_s):
                await producer.start()
        except BaseException:
            await _close(producer)
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Flush for a short time, and close."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def ping(self) -> None:
        """Return once a broker has answered. Raises KafkaError or TimeoutError where none does."""
        if self._producer is None:
            return
        async with asyncio.timeout(self._patience_s):
            if not await self._producer.client.force_metadata_update():
                raise KafkaConnectionError("no broker answers")

    async def send(self, outcome: Outcome) -> None:
        """Publish lists and dead letters and wait until the broker has them.

        Lists of one user keep their order: same key, same partition, one idempotent producer.

        Raises:
            TimeoutError: not acknowledged yet; call again with the same outcome to go on waiting.
            aiokafka.errors.KafkaError: refused; call again, and all of it is sent anew.
        """
        if self._outcome is not outcome:
            self._outcome, self._given, self._timeouts = outcome, [], 0
            self._messages = self._messages_of(outcome)
        try:
            async with asyncio.timeout(self._patience_s):
                await self._give()
                if self._given:
                    await asyncio.wait(self._given)
            for future in self._given:
                future.result()
        except TimeoutError:
            self._timeouts += 1
            if self._timeouts >= FRESH_AFTER:
                await self._give_up_producer()
            waiting = sum(not future.done() for future in self._given)
            raise TimeoutError(
                f"{waiting} records are not acknowledged after {self._patience_s:g} s"
            ) from None
        except KafkaError:
            await self._give_up_producer()
            raise
        self._outcome, self._messages, self._given = None, [], []
        for each in outcome.lists:
            metrics.LISTS.labels("search" if each.query is not None else "interaction").inc()

    @staticmethod
    def letter_of(record: Record, error: Exception) -> Outcome:
        """The dead letter of a record that the path cannot process, to be sent."""
        metrics.DEAD_LETTERS.labels("processing_failed").inc()
        reason = ContractError("processing_failed", f"{type(error).__name__}: {error}")
        return Outcome([], [DeadLetter(record, reason)])

    @property
    def _patience_s(self) -> float:
        # A little more than the producer's own, whose errors tell more.
        return self._settings.kafka_timeout_s + 1.0

    def _messages_of(self, outcome: Outcome) -> list[Message]:
        topic = self._settings.recommendations_topic
        lists: list[Message] = [
            (topic, data, each.user_id.encode(), [])
            for each, data in zip(outcome.lists, outcome.encoded_lists, strict=True)
        ]
        return [*lists, *map(self._dead_letter, outcome.dead_letters)]

    def _dead_letter(self, letter: DeadLetter) -> Message:
        most_bytes = self._settings.events_max_message_bytes
        made = dead_letter_message(letter.error, letter.record, most_bytes)
        return self._settings.dlq_topic, made.value, made.key, made.headers

    async def _give(self) -> None:
        """Hand the producer what it does not have yet; a time-out may have come in between."""
        if self._producer is None:
            await self.start()
        assert self._producer is not None
        for topic, value, key, headers in self._messages[len(self._given) :]:
            future = await self._producer.send(topic, value, key=key, headers=headers)
            # Nobody may look at it any more when it fails.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._given.append(future)

    async def _give_up_producer(self) -> None:
        """Its sequence of records has a hole now, which the broker would not accept."""
        producer, self._producer = self._producer, None
        self._given, self._timeouts = [], 0
        if producer is not None:
            await _close(producer, flush_s=0)


async def _close(producer: AIOKafkaProducer, flush_s: float = CLOSE_S) -> None:
    """Close in a bounded time: aiokafka's stop() waits for a broker that may never come back."""
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(flush_s):
            await producer.stop()
            return
    # Else stop() would wait on in the background, for records that nobody sends any more.
    producer._message_accumulator.fail_all(ProducerClosed())
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(CLOSE_S):
            await producer.client.close()
            await producer._sender.close()
