"""Holds a replay back while the workers are too far behind what it writes."""

import time
from collections.abc import Callable

from kafka import TopicPartition

from stream.kafka import TopicError
from stream.replay.past import ReplayError
from stream.replay.topic_offsets import Lag, Offsets, TopicOffsets
from stream.settings import Settings

MAX_LAG = 5_000
"""2.5 MB of events of 500 bytes: half of what the embedded broker keeps on one partition."""
LAG_PAUSE_S = 0.1
STALL_S = 120.0
"""Longer than a worker takes to start, load its bundle and read a large catalogue."""


class LagGate:
    """Lets events through while the group stays within ``max_lag`` records of the ends.

    The group's commits are read from outside, so it never notices.

    Args:
        settings: the topics of events, and the group that is watched.
        offsets: an open reader.
        max_lag: 0: no bound, nobody is waited for.

    Raises:
        TopicError: a topic of events is missing.
    """

    def __init__(self, settings: Settings, offsets: TopicOffsets, max_lag: int) -> None:
        self._settings = settings
        self._offsets = offsets
        self._max_lag = max_lag
        # Live events of further topics must not wait for those of the past either.
        self._places: list[TopicPartition] = [
            place for topic in settings.source_topics for place in offsets.partitions(topic)
        ]
        self._beginnings: Offsets = offsets.beginnings(self._places)
        self._room = 0
        self.lag = -1
        """At the last look; -1: there was none."""
        self.highest = 0

    def wait(self, events: int, on_the_way: Callable[[], int] = lambda: 0) -> None:
        """Return once ``events`` more records keep the lag within its bound.

        Args:
            events: that are to be sent.
            on_the_way: tells how many of those sent may not be in the topic yet.

        Raises:
            ReplayError: the group has not caught up at all for two minutes.
            TopicError: the topic drops events before the group reads them.
        """
        if not self._max_lag:
            return
        best, deadline = self._max_lag + events, time.monotonic() + STALL_S
        while self._room < events:
            sent = on_the_way()  # before the look: what arrives meanwhile is counted twice
            measured = self._offsets.lag(self._settings.group, self._places)
            self._refuse_loss(measured)
            self.lag, self._room = measured.records, self._max_lag - measured.records - sent
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
            time.sleep(LAG_PAUSE_S)
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
