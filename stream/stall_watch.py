"""Looks at a worker's own consumer, agent and model, and tells its liveness what has stalled."""

import asyncio
import time
from collections.abc import Callable

from aiokafka import TopicPartition
from faust.types import TP

from stream.batch_consumer import BatchConsumer
from stream.end_offsets import EndOffsets
from stream.liveness import Liveness
from stream.readiness import Readiness
from stream.settings import Settings
from stream.stalls import Sight, Stalls

LOOKS = 15
"""In the time after which something has stalled."""
LONGEST_LOOK_S = 10.0


def look_s(settings: Settings) -> float:
    """Seconds between two looks."""
    return min(LONGEST_LOOK_S, settings.stall_s / LOOKS)


class StallWatch:
    """Of one worker, in its event loop.

    Args:
        settings: of the brokers, and how long nothing may move.
        readiness: tells what is waited for.
        liveness: is told.
        is_run_overdue: whether a run of the model was given up and has not ended.
    """

    def __init__(
        self,
        settings: Settings,
        readiness: Readiness,
        liveness: Liveness,
        is_run_overdue: Callable[[], bool],
    ) -> None:
        self._look_s = look_s(settings)
        self._readiness, self._liveness = readiness, liveness
        self._is_run_overdue = is_run_overdue
        self._ends = EndOffsets(settings, timeout_s=max(1.0, self._look_s))
        self._stalls = Stalls(settings.stall_s)
        self._any = TP(settings.events_topic, 0)

    async def run(self, consumer: BatchConsumer) -> None:
        """Look for ever."""
        try:
            while True:
                await asyncio.sleep(self._look_s)
                sight = await self._see(consumer)
                self._liveness.tell(self._stalls.judge(sight, time.monotonic()))
        finally:
            await self._ends.stop()

    async def _see(self, consumer: BatchConsumer) -> Sight:
        # Any partition shows whether brokers answer.
        asked = consumer.watched().keys() or {self._any}
        ends = await self._ends.read([TopicPartition(*place) for place in asked])
        # As they are now: what was in work when the brokers were asked may be done.
        standings = consumer.watched()
        return Sight(
            standings={TopicPartition(*place): each for place, each in standings.items()},
            ends=ends,
            assignment=consumer.app.consumer_generation_id,
            is_rebalancing=consumer.app.rebalancing or not consumer.flow_active,
            is_full=consumer.is_full,
            endings=self._readiness.endings,
            commits=consumer.commits,
            is_thread_silent=consumer.is_thread_silent(),
            is_run_overdue=self._is_run_overdue(),
            is_waiting=bool(self._readiness.waiting_for),
        )
