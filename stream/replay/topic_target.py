"""Old events -> the ``events`` topic, at a pace that the workers can follow.

Each record is keyed by its user and marked with `REPLAY_HEADER`, so that workers bring profiles up
to date and publish no list unless they are told to. The lag of the workers' group bounds the pace;
its commits are read from outside, so the group never notices.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from model.events import Event, encode_event
from stream.kafka import TopicError, producer_arguments, require_broker
from stream.offsets import Lag, OffsetReader
from stream.settings import Settings

REPLAY_HEADER = ("nextclick-replay", b"1")
MAX_LAG = 5_000
"""2.5 MB of events of 500 bytes: half of what the embedded broker keeps on one partition."""
LINGER_MS = 5
"""Fewer, larger batches: a fetch from the embedded broker brings one batch of a partition."""
CHUNK = 500
"""Events sent between two looks at acknowledgements, pace and lag."""
CHUNKS_PER_SECOND = 20
"""With a rate, so that events arrive evenly and not in a burst each second."""
LAG_PAUSE_S = 0.1
STALL_S = 120.0
"""Longer than a worker takes to start, load its bundle and read a large catalogue."""


class ReplayError(RuntimeError):
    """The replay cannot go on; the message says what to do."""


class ReplayProgress(NamedTuple):
    """Where a replay stands. ``event_time`` is in epoch milliseconds; -1 as lag: not known."""

    sent: int
    event_time: int
    lag: int


class ReplayReport(NamedTuple):
    """What a replay did; times of events in epoch milliseconds."""

    sent: int
    seconds: float
    first: int
    last: int
    highest_lag: int


async def replay(
    settings: Settings,
    events: Iterable[Event],
    *,
    rate: float | None = None,
    max_lag: int = MAX_LAG,
    progress: Callable[[ReplayProgress], None] = lambda _: None,
) -> ReplayReport:
    """Send events in the order given and return when the broker has acknowledged all of them.

    Args:
        settings: brokers, events topic, and the group whose lag is watched.
        events: in event-time order (`stream.replay.file_past`).
        rate: at most so many events a second; None: as fast as the lag allows.
        max_lag: records that the group may be behind; 0: no bound, nobody is waited for.
        progress: called after every few hundred events.

    Raises:
        BrokerError: no broker answers.
        TopicError: the events topic is missing, or drops events before the group reads them.
        ReplayError: the group has not caught up at all for two minutes.
    """
    require_broker(settings)
    started = time.monotonic()
    sent, first, last = 0, 0, 0
    async with OffsetReader(settings) as offsets:
        gate = LagGate(settings, offsets, max_lag)
        await gate.open()
        async with AIOKafkaProducer(
            **producer_arguments(settings), linger_ms=LINGER_MS
        ) as producer:
            for chunk in _chunks(events, chunk_size(rate, max_lag)):
                await gate.wait(len(chunk))
                await _send(producer, settings.events_topic, chunk)
                first, last = first if sent else chunk[0].time, chunk[-1].time
                sent += len(chunk)
                progress(ReplayProgress(sent, last, gate.lag))
                if rate is not None:
                    await asyncio.sleep(max(started + sent / rate - time.monotonic(), 0))
        return ReplayReport(sent, time.monotonic() - started, first, last, gate.highest)


class LagGate:
    """Lets events through while the group stays within ``max_lag`` records of the ends."""

    def __init__(self, settings: Settings, offsets: OffsetReader, max_lag: int) -> None:
        self._settings = settings
        self._offsets = offsets
        self._max_lag = max_lag
        self._places: list[TopicPartition] = []
        self._beginnings: dict[TopicPartition, int] = {}
        self._room = 0
        self.lag = -1
        self.highest = 0

    async def open(self) -> None:
        """Find the partitions. Raises TopicError where there are none."""
        self._places = await self._offsets.partitions(self._settings.events_topic)
        self._beginnings = await self._offsets.beginnings(self._places)

    async def wait(self, events: int) -> None:
        """Return once ``events`` more records keep the lag within its bound."""
        if not self._max_lag:
            return
        best, deadline = self._max_lag + events, time.monotonic() + STALL_S
        while self._room < events:
            measured = await self._offsets.lag(self._settings.group, self._places)
            self._refuse_loss(measured)
            self.lag, self._room = measured.records, self._max_lag - measured.records
            if self._room >= events:
                break
            if measured.records < best:
                best, deadline = measured.records, time.monotonic() + STALL_S
            elif time.monotonic() > deadline:
                raise ReplayError(
                    f"the group `{self._settings.group}` has read nothing for {STALL_S:.0f} s and "
                    f"is {measured.records:,} events behind; start its workers, or replay without "
                    "waiting with --max-lag 0"
                )
            await asyncio.sleep(LAG_PAUSE_S)
        self._room -= events
        self.highest = max(self.highest, self._max_lag - self._room)

    def _refuse_loss(self, measured: Lag) -> None:
        """The embedded broker drops what exceeds its memory and tells nobody."""
        for place, beginning in measured.beginnings.items():
            read = max(measured.committed.get(place, 0), self._beginnings[place])
            if beginning > read:
                raise TopicError(
                    f"`{place.topic}` partition {place.partition} dropped {beginning - read:,} "
                    f"events before the group `{self._settings.group}` read them; lower --max-lag "
                    "or raise the topic's retention, then replay again"
                )


def chunk_size(rate: float | None, max_lag: int) -> int:
    """How many events are sent at a time."""
    by_rate = CHUNK if rate is None else max(int(rate / CHUNKS_PER_SECOND), 1)
    return min(CHUNK, by_rate, max_lag or CHUNK)


def _chunks(events: Iterable[Event], size: int) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    for event in events:
        chunk.append(event)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _send(producer: AIOKafkaProducer, topic: str, events: list[Event]) -> None:
    acknowledgements = [
        await producer.send(
            topic, encode_event(event), key=event.user_id.encode(), headers=[REPLAY_HEADER]
        )
        for event in events
    ]
    await asyncio.gather(*acknowledgements)
