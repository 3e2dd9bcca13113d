"""Watches the ``recommendations`` topic during the demonstration and measures what it saw."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from model.events import Event
from serving.recommendation import Recommendation, decode_recommendation
from stream.kafka import consumer_arguments
from stream.offsets import OffsetReader
from stream.settings import Settings

POLL_MS = 50
QUIET_S = 3.0
"""Without a new list for so long after the last event, nothing more is on its way."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the moment an event was handed to the producer to its list's arrival."""

    lists: int
    p50: float
    p99: float


@dataclass
class ListWatch:
    """An async context manager that collects every list from now on.

    Lists are kept as bytes and decoded at the end, so that watching costs the workers little.
    """

    settings: Settings
    sent: dict[str, float] = field(default_factory=dict)
    """By event id, when it was handed to the producer (``time.monotonic``)."""
    arrived: list[tuple[float, bytes]] = field(default_factory=list)

    async def __aenter__(self) -> "ListWatch":
        async with OffsetReader(self.settings) as offsets:
            places = await offsets.partitions(self.settings.recommendations_topic)
            ends = await offsets.ends(places)
        self._consumer = AIOKafkaConsumer(**consumer_arguments(self.settings))
        await self._consumer.start()
        self._consumer.assign(places)
        for place, offset in ends.items():
            self._consumer.seek(place, offset)
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    def departing(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same events, each noted as it leaves."""
        for event in events:
            self.sent[event.event_id] = time.monotonic()
            yield event

    async def until_quiet(self) -> None:
        """Return once no list has come for a while. Raises what stopped the watching."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET_S:
            if len(self.arrived) != seen:
                seen, since = len(self.arrived), time.monotonic()
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        while True:
            fetched: dict[TopicPartition, list[object]] = await self._consumer.getmany(
                timeout_ms=POLL_MS
            )
            now = time.monotonic()
            for records in fetched.values():
                self.arrived.extend((now, record.value) for record in records)  # type: ignore[attr-defined]

    def lists(self) -> list[tuple[float, Recommendation]]:
        """Arrival and content of each list, copies dropped."""
        distinct: dict[str, tuple[float, Recommendation]] = {}
        for moment, data in self.arrived:
            decoded = decode_recommendation(data)
            distinct.setdefault(decoded.rec_id, (moment, decoded))
        return list(distinct.values())


def latencies(
    lists: Iterable[tuple[float, Recommendation]],
    sent: dict[str, float],
    kinds: dict[str, str],
) -> dict[str, Latency]:
    """By kind of the causing event; ``kinds`` is by event id, others are left out."""
    waits: dict[str, list[float]] = defaultdict(list)
    for moment, each in lists:
        if (kind := kinds.get(each.event_id)) is not None:
            waits[kind].append((moment - sent[each.event_id]) * 1000)
    return {
        kind: Latency(len(values), *np.percentile(values, (50, 99)).tolist())
        for kind, values in sorted(waits.items())
    }


def last_lists_before(
    lists: Iterable[Recommendation], moments: Iterable[tuple[str, int]]
) -> list[tuple[str, ...] | None]:
    """For each (user, event time), the items of the user's last list caused before then."""
    by_user: dict[str, list[Recommendation]] = defaultdict(list)
    for each in lists:
        by_user[each.user_id].append(each)
    for own in by_user.values():
        own.sort(key=lambda each: (each.ts, each.as_of.offset))
    found: list[tuple[str, ...] | None] = []
    for user, time_ms in moments:
        earlier = [each for each in by_user.get(user, ()) if each.ts < time_ms]
        found.append(tuple(item.item_id for item in earlier[-1].items) if earlier else None)
    return found
