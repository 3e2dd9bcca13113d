"""Where partitions end, asked over a connection of its own: what is watched may be what hangs."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.closing import close_consumer
from stream.kafka import consumer_arguments
from stream.settings import Settings


class EndOffsets:
    """A consumer outside every group, which only asks; connected when it is first asked.

    Args:
        settings: of the brokers.
        timeout_s: for all answers together.
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Offset of the next record of each; those are missing whose broker has not answered."""
        try:
            async with asyncio.timeout(self._timeout_s):
                consumer = await self._connected()
        except (KafkaError, TimeoutError):
            return {}
        asked = {asyncio.ensure_future(consumer.end_offsets([each])) for each in partitions}
        if not asked:
            return {}
        answered, late = await asyncio.wait(asked, timeout=self._timeout_s)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        found: dict[TopicPartition, int] = {}
        for each in answered:
            with suppress(KafkaError):
                found |= each.result()
        return found

    async def stop(self) -> None:
        """Close the connection, in a bounded time."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer)

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(**consumer_arguments(self._settings))
            try:
                await consumer.start()
            except BaseException:
                await close_consumer(consumer)
                raise
            self._consumer = consumer
        return self._consumer
