"""The figures of the live view, once a second while somebody looks."""

import asyncio
import logging
import time
from collections import Counter, deque

import msgspec
import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.console.audience import Audience, message
from stream.console.feed import Feed
from stream.console.worker_metrics import WorkerMetrics, WorkerState
from stream.kafka import TopicError
from stream.offsets import OffsetReader
from stream.readiness import Backoff
from stream.settings import Settings

logger = logging.getLogger(__name__)

EVERY_S = 1.0
LOOK_S = 5.0
"""Kafka answers in milliseconds, and a page should not show old figures for long."""
HISTORY = 120
"""Seconds that a page is shown when it opens."""
MOST_PARTITIONS = 64
"""Of more, those with the greatest lag are shown."""


class PartitionLag(msgspec.Struct, frozen=True, gc=False):
    """How far the group is in a partition."""

    topic: str
    partition: int
    end: int
    done: int
    lag: int


class Latency(msgspec.Struct, frozen=True, gc=False):
    """Milliseconds from an event's own time until its list was written, of the last minute."""

    lists: int
    p50: float
    p90: float
    p99: float


class Beat(msgspec.Struct, frozen=True, gc=False):
    """One second."""

    at: int
    """Epoch milliseconds."""
    events_per_s: float
    lists_per_s: float
    lag: int
    p50: float | None


class Figures(msgspec.Struct, frozen=True, gc=False):
    """What the live view shows."""

    beat: Beat
    latency: Latency | None
    """None while there were no lists."""
    partitions: tuple[PartitionLag, ...]
    all_partitions: int
    reasons: dict[str, int]
    """Of dead letters: since this process started, and of the newest before that."""
    bundle: str | None
    """Of the newest list."""
    bundles: dict[str, int]
    """Lists of the last minute by the bundle that ranked them."""
    workers: tuple[WorkerState, ...]
    is_away: bool
    """Whether Kafka does not answer."""


class Pulse:
    """Measures and tells.

    Args:
        settings: of Kafka, the group and the workers.
        audience: who is told; while it is empty nothing is measured.
        feed: that counts lists.
    """

    def __init__(self, settings: Settings, audience: Audience, feed: Feed) -> None:
        self._settings, self._audience, self._feed = settings, audience, feed
        self._workers = WorkerMetrics(settings.console_worker_list)
        self.history: deque[Beat] = deque(maxlen=HISTORY)
        self._before: tuple[float, int, int] | None = None
        """When it was looked last, and how many events and lists there were."""

    async def run(self) -> None:
        """Measure for ever; Kafka is waited for while it is away."""
        backoff = Backoff()
        while True:
            await self._audience.present.wait()
            try:
                await self._measure()
                backoff = Backoff()
            except (KafkaError, TopicError, OSError) as error:
                logger.warning("no figures for the console: Kafka (%s)", type(error).__name__)
                await self._tell(None)
                await backoff.wait()

    async def _measure(self) -> None:
        """Measure while somebody looks."""
        async with OffsetReader(self._settings) as offsets:
            topics = self._settings.source_topics
            places = [each for topic in topics for each in await offsets.partitions(topic)]
            self._before = None
            while self._audience.present.is_set():
                async with asyncio.timeout(LOOK_S):
                    partitions = await _partitions(offsets, self._settings.group, places)
                await self._tell(partitions)
                await asyncio.sleep(EVERY_S)

    async def _tell(self, partitions: list[PartitionLag] | None) -> None:
        workers = await self._workers.look()
        figures = self._figures(partitions, workers)
        self.history.append(figures.beat)
        self._audience.tell_all(message("figures", figures))

    def _figures(
        self, partitions: list[PartitionLag] | None, workers: tuple[WorkerState, ...]
    ) -> Figures:
        samples = self._feed.samples()
        latency = _latency([each.latency_ms for each in samples])
        every = sorted(partitions or (), key=lambda each: -each.lag)
        shown = sorted(every[:MOST_PARTITIONS], key=lambda each: (each.topic, each.partition))
        events = None if partitions is None else sum(each.end for each in every)
        events_per_s, lists_per_s = self._rates(events)
        return Figures(
            beat=Beat(
                time.time_ns() // 1_000_000,
                events_per_s,
                lists_per_s,
                sum(each.lag for each in every),
                None if latency is None else latency.p50,
            ),
            latency=latency,
            partitions=tuple(shown),
            all_partitions=len(every),
            reasons=dict(self._feed.reasons),
            bundle=self._feed.bundle,
            bundles=dict(Counter(each.bundle for each in samples)),
            workers=workers,
            is_away=partitions is None or self._feed.is_away,
        )

    def _rates(self, events: int | None) -> tuple[float, float]:
        """Events and lists a second since the last look; 0 where there was none."""
        if events is None:
            return 0.0, 0.0
        now = time.monotonic(), events, self._feed.lists
        before, self._before = self._before, now
        if before is None:
            return 0.0, 0.0
        seconds = max(now[0] - before[0], 1e-3)
        return max(now[1] - before[1], 0) / seconds, max(now[2] - before[2], 0) / seconds


def _latency(latencies_ms: list[int]) -> Latency | None:
    if not latencies_ms:
        return None
    p50, p90, p99 = np.percentile(latencies_ms, (50, 90, 99)).tolist()
    return Latency(len(latencies_ms), p50, p90, p99)


async def _partitions(
    offsets: OffsetReader, group: str, places: list[TopicPartition]
) -> list[PartitionLag]:
    """A partition without a commit counts from its beginning: there the group will start."""
    committed = await offsets.committed(group, places)
    firsts, ends = await offsets.beginnings(places), await offsets.ends(places)
    found = []
    for place in places:
        done, end = max(committed.get(place, 0), firsts[place]), ends[place]
        found.append(PartitionLag(place.topic, place.partition, end, done, max(end - done, 0)))
    return found
