"""Follows the topics of lists and of dead letters, outside of every group."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from serving.catalog import Catalog
from serving.recommendation import NO_LIST, decode_recommendation
from stream.closing import close_consumer
from stream.console.audience import Audience, message
from stream.console.recent_lists import RecentLists
from stream.console.shown import ShownLetter, shown_letter, shown_list
from stream.deadletter import stored_dead_letter
from stream.kafka import TopicError, consumer_arguments
from stream.offsets import OffsetReader
from stream.readiness import Backoff
from stream.settings import Settings

logger = logging.getLogger(__name__)

POLL_MS = 200
EMBEDDED_WAIT_MS = 4
"""The embedded broker lets a fetch wait to its end, and somebody waits for what it brings."""
KEPT_LETTERS = 50
"""Newest dead letters that a page is shown when it opens."""
EARLIER_LISTS = 2_000
"""From before the start, of all partitions together: less than ten megabytes to read, as a rule."""
WINDOW_S = 60.0
MOST_SAMPLES = 5_000
"""Lists of the last minute whose lineage is read: of more than that some are enough."""
A_SECOND = 200
"""Lists a second whose lineage is read at most."""


class Lineage(msgspec.Struct, frozen=True, gc=False):
    """Of a list, what the live view tells."""

    ts: int
    bundle: str


class Sample(NamedTuple):
    """The lineage of a list that has come."""

    at: float
    """``time.monotonic``"""
    latency_ms: int
    """From the time of the event that caused it until the list was written."""
    bundle: str


_lineage = msgspec.json.Decoder(Lineage)


class Feed:
    """Tells the audience of lists as they come, and keeps what the live view needs of them.

    Args:
        settings: of Kafka.
        audience: who is told.
        catalog: the present one, for titles; None while it is being read.
    """

    def __init__(
        self, settings: Settings, audience: Audience, catalog: Callable[[], Catalog | None]
    ) -> None:
        self._settings, self._audience, self._catalog = settings, audience, catalog
        self.lists = 0
        """That have come since the start."""
        self.reasons: Counter[str] = Counter()
        """Of the dead letters that have been read, the newest of an earlier time among them."""
        self.letters: deque[ShownLetter] = deque(maxlen=KEPT_LETTERS)
        """The newest, newest last."""
        self.recent = RecentLists()
        """Those from shortly before the start among them, which no figure counts."""
        self.bundle: str | None = None
        """Of the newest list since the start."""
        self.is_away = False
        """Whether Kafka does not answer."""
        self.settled = asyncio.Event()
        """Set once the topics are followed, or Kafka is known to be away: what is written before
        that may be missed."""
        self._next: dict[TopicPartition, int] = {}
        self._starts: dict[TopicPartition, int] = {}
        """Where the records since the start begin, while lists from before it are being read."""
        self._samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self._second, self._in_second = 0, 0

    async def run(self) -> None:
        """Follow the topics for ever; Kafka is waited for while it is away."""
        backoff = Backoff()
        while True:
            try:
                await self._follow()
            except (KafkaError, TopicError, OSError) as error:
                if not self.is_away:
                    backoff = Backoff()
                    logger.warning("the console waits for Kafka (%s)", type(error).__name__)
                self.is_away = True
                self.settled.set()
            await backoff.wait()

    def samples(self) -> list[Sample]:
        """Those of the last minute."""
        oldest = time.monotonic() - WINDOW_S
        while self._samples and self._samples[0].at < oldest:
            self._samples.popleft()
        return list(self._samples)

    async def _follow(self) -> None:
        async with OffsetReader(self._settings) as offsets:
            lists = await offsets.partitions(self._settings.recommendations_topic)
            letters = await offsets.partitions(self._settings.dlq_topic)
            ends = await offsets.ends([*lists, *letters])
            firsts = await offsets.beginnings(ends)
        earlier = dict.fromkeys(letters, KEPT_LETTERS)
        earlier |= dict.fromkeys(lists, max(EARLIER_LISTS // len(lists), 1))
        # What expires while it is read is gone, and what the page shows is the newest.
        arguments = consumer_arguments(self._settings) | {"auto_offset_reset": "latest"}
        if self._settings.embedded:
            arguments["fetch_max_wait_ms"] = EMBEDDED_WAIT_MS
        consumer = AIOKafkaConsumer(**arguments)
        try:
            await consumer.start()
            consumer.assign(list(ends))
            for place, end in ends.items():
                # Where it left off, if Kafka was away meanwhile.
                if place not in self._next:
                    self._next[place] = max(firsts[place], end - earlier[place])
                    if place in lists and self._next[place] < end:
                        self._starts[place] = end
                consumer.seek(place, self._next[place])
            self.is_away = False
            self.settled.set()
            while True:
                self._take(await consumer.getmany(timeout_ms=POLL_MS))
        finally:
            await close_consumer(consumer)

    def _take(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        for place, records in fetched.items():
            self._next[place] = records[-1].offset + 1
            if place.topic == self._settings.dlq_topic:
                for record in records:
                    self._take_letter(record)
                continue
            new = self._since_start(place, records)
            self.lists += len(new)
            for record in new:
                with suppress(*NO_LIST, TypeError):  # of a value that is None
                    self._take_list(record)
            for record in records:
                self.recent.keep(record.key, record.value)

    def _since_start(self, place: TopicPartition, records: list[Any]) -> list[Any]:
        """Those that are no news of an earlier time."""
        start = self._starts.get(place)
        if start is None:
            return records
        if self._next[place] >= start:
            del self._starts[place]
        return [each for each in records if each.offset >= start]

    def _take_list(self, record: Any) -> None:
        if self._audience.wants(record.key) and (catalog := self._catalog()) is not None:
            shown = shown_list(decode_recommendation(record.value), catalog)
            self._audience.tell_user(record.key, message("list", shown))
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        if self._in_second <= A_SECOND:
            lineage = _lineage.decode(record.value)
            self.bundle = lineage.bundle
            self._samples.append(Sample(now, record.timestamp - lineage.ts, lineage.bundle))

    def _take_letter(self, record: Any) -> None:
        letter = stored_dead_letter(record)
        if letter is None:
            return
        shown = shown_letter(letter)
        self.letters.append(shown)
        self.reasons[letter.reason] += 1
        self._audience.tell_all(message("letter", shown))
