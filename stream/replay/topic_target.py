"""The past -> the ``events`` topic again, at a pace that the workers can follow.

Each record is keyed by its user and says that it is replayed, so that workers bring profiles up to
date and publish no list unless they are told to.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from serving.intake import Decoded
from stream.kafka_login import require_broker
from stream.replay.lag_gate import MAX_LAG, LagGate
from stream.replay.pace import Pace
from stream.replay.past import Past, PastBatch, Position
from stream.replay.record_sender import RecordSender
from stream.replay.topic_offsets import TopicOffsets
from stream.settings import Settings

KEEP_S = 0.5
"""Between two checkpoints. What was sent since the last one is sent again after a crash."""


class ReplayProgress(NamedTuple):
    """Where a replay stands. ``event_time`` is in epoch milliseconds; -1 as lag: not known."""

    sent: int
    event_time: int
    lag: int
    position: Position
    """Of the source, behind what was sent and what was left out."""


class ReplayReport(NamedTuple):
    """What a replay did; times of events in epoch milliseconds."""

    sent: int
    seconds: float
    first: int
    last: int
    highest_lag: int


def replay(
    settings: Settings,
    past: Past,
    done: Position,
    *,
    rate: float | None = None,
    speed: float | None = None,
    max_lag: int = MAX_LAG,
    progress: Callable[[ReplayProgress], None] = lambda _: None,
    keep: Callable[[Position], None] = lambda _: None,
) -> ReplayReport:
    """Send the past behind ``done`` and return when the broker has acknowledged all of it.

    Args:
        settings: brokers, events topic, and the group whose lag is watched.
        past: what is sent, in its order.
        done: where to go on; empty: at the beginning.
        rate: at most so many events a second.
        speed: at most so many seconds of event time a second.
        max_lag: records that the group may be behind; 0: no bound, nobody is waited for.
        progress: called after every few hundred events.
        keep: called with a position when all before it is acknowledged: twice a second, and when
            this ends in whatever way.

    Raises:
        BrokerError: no broker answers.
        TopicError: the events topic is missing, or drops events before the group reads them.
        ReplayError: the group has not caught up at all for two minutes.
        And what reading the past may raise.
    """
    require_broker(settings)
    pace = Pace(rate=rate, speed=speed, most=max_lag or MAX_LAG)
    with TopicOffsets(settings) as offsets:
        gate = LagGate(settings, offsets, max_lag)
        sender = RecordSender(settings)
        work = _Replay(gate, pace, sender, progress, keep, dict(done))
        try:
            for batch in past.batches(done):
                work.send(batch)
            sender.flush()
        finally:
            sender.close()
            work.keep_now()
    return work.report()


class _Replay:
    def __init__(
        self,
        gate: LagGate,
        pace: Pace,
        sender: RecordSender,
        progress: Callable[[ReplayProgress], None],
        keep: Callable[[Position], None],
        done: dict[str, int],
    ) -> None:
        self._gate, self._pace, self._sender = gate, pace, sender
        self._progress, self._keep = progress, keep
        self._position = done
        self._started = self._kept_at = time.monotonic()
        self._sent = self._first = self._last = 0

    def send(self, batch: PastBatch) -> None:
        """Send a batch, portion by portion."""
        at = 0
        for events in self._pace.portions(batch.decoded):
            at += len(events)
            self._gate.wait(len(events), self._sender.on_the_way)
            is_last = at == len(batch.decoded)
            self._position |= (
                batch.position if is_last else _behind(events, batch.decoded[at], batch)
            )
            self._sender.send(events, dict(self._position))
            times = [each.event.time for each in events]
            self._first = min(times) if not self._sent else min(self._first, *times)
            self._last = max(self._last, *times)
            self._sent += len(events)
            self._tell()
            if time.monotonic() - self._kept_at > KEEP_S:
                self.keep_now()
        if not batch.decoded:  # all of it was bad
            self._position |= batch.position
            self._sender.send((), dict(self._position))
            self._tell()

    def _tell(self) -> None:
        position = dict(self._position)
        self._progress(ReplayProgress(self._sent, self._last, self._gate.lag, position))

    def keep_now(self) -> None:
        """Have what is acknowledged stored."""
        self._kept_at = time.monotonic()
        if self._sender.acknowledged is not None:
            self._keep(self._sender.acknowledged)

    def report(self) -> ReplayReport:
        """What was done."""
        seconds = time.monotonic() - self._started
        return ReplayReport(self._sent, seconds, self._first, self._last, self._gate.highest)


def _behind(events: Sequence[Decoded], following: Decoded, batch: PastBatch) -> dict[str, int]:
    """The position behind events within a batch, whose parts tell what they are numbered by."""
    found: dict[str, int] = {}
    for each in events:
        record = each.record
        part = f"{record.topic}:{record.partition}"
        if part not in batch.position:  # files are one part, numbered over all partitions
            [part] = batch.position
        # The rest of a record may be still to come.
        found[part] = record.offset + (record is not following.record)
    return found
