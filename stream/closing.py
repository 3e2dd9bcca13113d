"""Kafka's clients, closed in a bounded time: stop() waits for brokers that may never come back."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

CLOSE_S = 5.0
"""For the last records; what has not been acknowledged by then is not."""


async def close_producer(producer: AIOKafkaProducer, flush_s: float = CLOSE_S) -> None:
    """Wait so long for what is on its way, and give up the rest: its futures fail."""
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


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close one that is in no group."""
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(CLOSE_S):
            await consumer.stop()
