"""Where a topic begins and ends and how far a group has come, read from outside of every group."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.closing import close_consumer
from stream.kafka import aiokafka_arguments, consumer_arguments, no_topic
from stream.settings import Settings

COORDINATOR_TRIES = 20
"""A group's coordinator moves or loads for seconds after a broker's start."""
COORDINATOR_PAUSE_S = 0.25


class OffsetReader:
    """An async context manager; it never joins a group and never commits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(**consumer_arguments(self._settings))
        self._admin = AIOKafkaAdminClient(**aiokafka_arguments(self._settings))
        try:
            await self._consumer.start()
            await self._admin.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await close_consumer(self._consumer)
        await self._admin.close()

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, in order. Raises TopicError where there is no such topic."""
        # Asking for one topic by name would make it on a broker that creates topics by itself.
        for found in await self._admin.describe_topics():
            if found["topic"] == topic and found["partitions"]:
                numbers = sorted(partition["partition"] for partition in found["partitions"])
                return [TopicPartition(topic, number) for number in numbers]
        raise no_topic(self._settings, topic)

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that can still be read."""
        return dict(await self._consumer.beginning_offsets(list(partitions)))

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset of the next record."""
        return dict(await self._consumer.end_offsets(list(partitions)))

    async def committed(
        self, group: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The group's next offset where it has one."""
        wanted = list(partitions)
        for attempt in range(COORDINATOR_TRIES):
            try:
                found = await self._admin.list_consumer_group_offsets(group, partitions=wanted)
                break
            except KafkaError as error:
                if not error.retriable or attempt == COORDINATOR_TRIES - 1:
                    raise
            await asyncio.sleep(COORDINATOR_PAUSE_S)
        return {place: value.offset for place, value in found.items() if value.offset >= 0}
