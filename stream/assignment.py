"""Which partitions Faust has given this worker."""

from collections.abc import Iterable
from typing import Any, cast

import faust
from aiokafka import TopicPartition
from faust.types import TP

from stream.batch_consumer import BatchConsumer


class Assignment:
    """Of one app, once it follows it."""

    def __init__(self) -> None:
        self.partitions: frozenset[TopicPartition] = frozenset()
        self._app: faust.App | None = None

    def follow(self, app: faust.App) -> None:
        """Hear of the assignments of an app."""
        self._app = app
        app.on_partitions_assigned.connect(self._take, weak=False)

    async def _take(self, app: Any, /, *told: Any, **_: Any) -> None:
        assigned: Iterable[TP] = told[0]
        self.partitions = frozenset(TopicPartition(tp.topic, tp.partition) for tp in assigned)

    @property
    def consumer(self) -> BatchConsumer | None:
        """Of the app; None where there is no app."""
        return None if self._app is None else cast(BatchConsumer, self._app.consumer)

    @property
    def number(self) -> int:
        """Another one after each rebalance; records tell in which assignment they came."""
        return 0 if self._app is None else self._app.consumer_generation_id

    async def position(self, partition: TopicPartition) -> int:
        """Offset of the next record that the app's consumer will hand over.

        Raises KafkaError where a rebalance has taken the partition away.
        """
        assert self._app is not None
        return cast(int, await self._app.consumer.position(TP(*partition)))
