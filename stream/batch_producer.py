"""Producing for batches: whole micro-batches go to the broker, a batch of records a partition.

aiokafka's own ``send`` costs a coroutine, a future and a hash in plain Python for each record, and
its small batches follow one another, a request each. Here the records of a micro-batch that go to
one partition are one batch, with one future, and those of all partitions are one request a broker.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from stream.closing import close_producer
from stream.kafka import producer_arguments
from stream.settings import Settings

FRESH_AFTER = 8
"""Time-outs in a row until a producer that says nothing is replaced: about two minutes."""
BATCH_BYTES = 512 * 1024
"""Half of what a broker takes by default (message.max.bytes), and 2 KB for each of 256 lists: a
micro-batch's share of a partition is seldom more. What is waits for the request before it."""
KNOWN_KEYS = 2**15
"""Keys whose hash is remembered, about 8 MB of them; a hash costs 1 µs for each 4 bytes."""

Message = tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]
"""Topic, value, key and headers."""


class _Batch(NamedTuple):
    """Records of one partition, ready to go."""

    topic: str
    partition: int
    builder: Any


class BatchProducer:
    """An idempotent producer with acks=all; ``send`` returns once everything is stored.

    While the broker is away the producer keeps what it was given and tries by itself, in order. So
    a ``send`` that timed out is called again with the same messages and waits for the same records;
    only after a refusal are they given to a new producer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most_bytes = 0
        self._producer: AIOKafkaProducer | None = None
        self._messages: Sequence[Message] | None = None
        self._batches: list[_Batch] | None = None
        self._given: list[asyncio.Future[Any]] = []
        self._timeouts = 0

    async def start(self) -> None:
        """Connect. Raises aiokafka.errors.KafkaError where no broker answers."""
        arguments = producer_arguments(self._settings)
        self._most_bytes = arguments["max_request_size"]
        size = min(BATCH_BYTES, self._most_bytes)
        producer = AIOKafkaProducer(**arguments, max_batch_size=size)
        try:
            async with asyncio.timeout(self._patience_s):
                await producer.start()
        except BaseException:
            await close_producer(producer)
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Flush for a short time, and close."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def ping(self) -> None:
        """Return once a broker has answered. Raises KafkaError or TimeoutError where none does."""
        if self._producer is None:
            return
        async with asyncio.timeout(self._patience_s):
            if not await self._producer.client.force_metadata_update():
                raise KafkaConnectionError("no broker answers")

    async def send(self, messages: Sequence[Message]) -> None:
        """Store messages; those with the same topic and key keep their order.

        Raises:
            TimeoutError: not acknowledged yet; call again with the same object to go on waiting.
            aiokafka.errors.KafkaError: refused; call again, and all of it is sent anew.
        """
        if self._messages is not messages:
            self._messages, self._batches, self._given, self._timeouts = messages, None, [], 0
        try:
            async with asyncio.timeout(self._patience_s):
                await self._give(messages)
                if self._given:
                    await asyncio.wait(self._given)
            for future in self._given:
                future.result()
        except TimeoutError:
            self._timeouts += 1
            waiting = self._waiting(messages)
            if self._timeouts >= FRESH_AFTER:
                await self._give_up_producer()
            raise TimeoutError(
                f"{waiting} records are not acknowledged after {self._patience_s:g} s"
            ) from None
        except KafkaError:
            await self._give_up_producer()
            raise
        self._messages, self._batches, self._given = None, None, []

    @property
    def _patience_s(self) -> float:
        # A little more than the producer's own, whose errors tell more.
        return self._settings.kafka_timeout_s + 1.0

    def _waiting(self, messages: Sequence[Message]) -> int:
        """Records that are not known to be stored."""
        stored = sum(
            int(batch.builder.record_count())
            for batch, future in zip(self._batches or (), self._given, strict=False)
            if future.done()
        )
        return len(messages) - stored

    async def _give(self, messages: Sequence[Message]) -> None:
        """Hand the producer what it does not have yet; a time-out may have come in between."""
        if self._producer is None:
            await self.start()
        producer = self._producer
        assert producer is not None
        if self._batches is None:
            for topic in {message[0] for message in messages}:
                await producer.partitions_for(topic)
            self._batches = _batches_of(messages, producer, self._most_bytes)
        for topic, partition, builder in self._batches[len(self._given) :]:
            if partition not in await producer.partitions_for(topic):
                raise UnknownTopicOrPartitionError(f"{topic}[{partition}] is no more")
            try:
                future = await producer.send_batch(builder, topic, partition=partition)
            except KafkaTimeoutError:  # the one before it has not left yet
                raise TimeoutError from None
            # Nobody may look at it any more when it fails.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._given.append(future)

    async def _give_up_producer(self) -> None:
        """Its sequence of records has a hole now, which the broker would not accept."""
        producer, self._producer = self._producer, None
        self._batches, self._given, self._timeouts = None, [], 0
        if producer is not None:
            await close_producer(producer, flush_s=0)


def _batches_of(
    messages: Sequence[Message], producer: AIOKafkaProducer, most_bytes: int
) -> list[_Batch]:
    """The messages in batches; of several of one partition, others' first ones come in between.

    Raises MessageSizeTooLargeError for a record of more than ``most_bytes``.
    """
    cluster, now_ms = producer.client.cluster, time.time_ns() // 1_000_000
    topics = {topic for topic, *_ in messages}
    counts = {topic: len(cluster.partitions_for_topic(topic)) for topic in topics}
    filled: dict[tuple[str, int], list[Any]] = {}
    for topic, value, key, headers in messages:
        no_key = key is None
        partition = _any_partition(cluster, topic) if no_key else key_hash(key) % counts[topic]
        builders = filled.get((topic, partition))
        if builders is None:
            builders = filled[topic, partition] = [producer.create_batch()]
        append = builders[-1].append
        if append(timestamp=now_ms, key=key, value=value, headers=headers) is None:  # it is full
            builders.append(producer.create_batch())
            # The first one of a batch may have any size.
            builders[-1].append(timestamp=now_ms, key=key, value=value, headers=headers)
    rounds = zip_longest(*([_Batch(*at, each) for each in made] for at, made in filled.items()))
    batches = [batch for each in rounds for batch in each if batch is not None]
    for topic, _, builder in batches:
        if (size := builder.size()) > most_bytes:
            raise MessageSizeTooLargeError(
                f"a record for {topic} has {size} bytes; at most {most_bytes}"
            )
    return batches


@lru_cache(maxsize=KNOWN_KEYS)
def key_hash(key: bytes) -> int:
    """What Java, kafka-python and aiokafka take modulo the number of partitions."""
    return int(murmur2(key)) & 0x7FFFFFFF


def _any_partition(cluster: ClusterMetadata, topic: str) -> int:
    """One with a leader, if there is any: what has no key may stand anywhere."""
    known = cluster.available_partitions_for_topic(topic) or cluster.partitions_for_topic(topic)
    return int(random.choice(list(known)))
