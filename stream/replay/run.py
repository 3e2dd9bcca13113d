"""A replay from what a person asked to what he is told: plan, bar, checkpoint, report."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console

from stream.cluster import terminable
from stream.kafka_login import require_broker
from stream.replay.checkpoint import Checkpoint, default_path
from stream.replay.orders import Orders, plan
from stream.replay.past import Past, Position, ReplayError
from stream.replay.progress import one_replay_bar
from stream.replay.shadow_target import ShadowReport, into_shadow, shadow_that_has
from stream.replay.sources import Source
from stream.replay.topic_target import ReplayReport, replay
from stream.settings import Settings

SHADOW_STATE = "in Redis, beside the shadow generation"


class Outcome(NamedTuple):
    """What came of a replay: for machines, and as a sentence for a person."""

    machine: dict[str, Any]
    person: str


class Interrupted(ReplayError):
    """Ctrl-C or SIGTERM; what was done is kept."""


def run(
    settings: Settings, orders: Orders, source: Source, console: Console, *, dry_run: bool = False
) -> Outcome:
    """Tell what will be read and written, and do it, from where the same command was stopped.

    Args:
        settings: brokers, topics, group and Redis.
        orders: what was asked for.
        source: what is read.
        console: for plan and bar.
        dry_run: only tell; nothing is written.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; the message says how to go on.
        ReplayError, BrokerError, TopicError, RowsError, StrictError, and errors of the clients.
    """
    with _interruptible() as phase:
        it = _Run(settings, orders, source, console, phase, dry_run)
        return it.into_shadow() if orders.into == "shadow" else it.into_topic()


class _Phase:
    """What there is to say to who ends it now."""

    def __init__(self) -> None:
        self.told = "stopped before anything was sent or built; the same command begins again"

    def begin(self, state: object) -> None:
        """From now on there is something to go on with."""
        self.told = f"stopped; the same command goes on where it was ({state})"


@dataclass
class _Run:
    settings: Settings
    orders: Orders
    source: Source
    console: Console
    phase: _Phase
    dry_run: bool

    def into_topic(self) -> Outcome:
        """Send it, and remember in a file how far it is."""
        settings, source = self.settings, self.source
        work = {
            "reads": source.reads, "writes": settings.events_topic, "brokers": settings.brokers,
        }  # fmt: skip
        state = self.orders.state or default_path(work)
        checkpoint = Checkpoint(state, work, again=self.orders.again)
        source.recall(checkpoint.notes)
        if checkpoint.is_complete and not self.dry_run:
            return self._sent_before(checkpoint)
        past = source.open(is_begun=bool(checkpoint.position))
        if self.dry_run:
            return self._told(past, checkpoint.told())
        require_broker(settings)
        self._tell(plan(settings, self.orders, past, checkpoint.told()))
        with checkpoint:
            checkpoint.notes, before = source.notes, checkpoint.position
            self.phase.begin(checkpoint.path)
            report = self._send(past, checkpoint)
            checkpoint.complete()
        source.finish()
        lag = f"highest lag {report.highest_lag:,}"
        person = f"{report.sent:,} events in {report.seconds:.1f} s, {lag}"
        return self._sent(checkpoint, before, report, person)

    def _sent_before(self, checkpoint: Checkpoint) -> Outcome:
        self.source.look_back()
        self.source.finish()
        return self._sent(
            checkpoint, checkpoint.position, ReplayReport(0, 0.0, 0, 0, 0),
            f"all of it has been sent before ({checkpoint.path}); --again sends it once more, "
            "which changes no profile",
        )  # fmt: skip

    def _send(self, past: Past, checkpoint: Checkpoint) -> ReplayReport:
        orders, done = self.orders, self.source.done

        def keep(position: Position) -> None:
            checkpoint.keep(position, done(position))

        keep(checkpoint.position)
        with one_replay_bar(self.console, total=past.total()) as bar:
            bar.begin(checkpoint.done)
            return replay(
                self.settings,
                past,
                checkpoint.position,
                rate=orders.rate,
                speed=orders.speed,
                max_lag=orders.lag_bound,
                progress=lambda at: bar.show(done(at.position), at.event_time, at.lag),
                keep=keep,
            )

    def _sent(
        self, checkpoint: Checkpoint, before: Position, report: ReplayReport, person: str
    ) -> Outcome:
        """The same keys, whatever was done."""
        machine = {"into": "events", "complete": True, "state": str(checkpoint.path)}
        machine["before"] = self.source.done(before)
        return Outcome(machine | report._asdict(), person)

    def into_shadow(self) -> Outcome:
        """Build it; how far it is stands in Redis."""
        source = self.source
        if not self.dry_run and (part := source.whole) is not None:
            built = asyncio.run(shadow_that_has(self.settings, part))
            if built is not None:
                source.look_back()
                source.finish()
                person = f"all of it is in generation {built.generation}, the shadow, already"
                return _built(built, 0.0, person)
        past = source.open()
        if self.dry_run:
            return self._told(past, SHADOW_STATE)
        self._tell(plan(self.settings, self.orders, past, SHADOW_STATE))
        started = time.monotonic()
        self.phase.begin(SHADOW_STATE)
        report = self._build(past)
        source.finish()
        seconds = time.monotonic() - started
        return _built(
            report, seconds,
            f"{report.events:,} events in {seconds:.1f} s are in generation {report.generation}, "
            "the shadow; `nextclick replay compare` and `cutover` follow",
        )  # fmt: skip

    def _build(self, past: Past) -> ShadowReport:
        done = self.source.done
        with one_replay_bar(self.console, total=past.total()) as bar:
            return asyncio.run(
                into_shadow(
                    self.settings,
                    past,
                    self.source.topics,
                    begin=lambda position: bar.begin(done(position)),
                    progress=lambda at: bar.show(done(at.position), at.newest),
                )
            )

    def _told(self, past: Past, state: str) -> Outcome:
        lines = plan(self.settings, self.orders, past, state)
        self._tell(lines)
        machine = {"into": self.orders.into, "dry_run": True, "total": past.total()}
        return Outcome(
            machine | {"plan": [f"{word} {line}".strip() for word, line in lines]},
            f"nothing was sent or built{self.source.left}; leave out --dry-run to do it",
        )

    def _tell(self, lines: Sequence[tuple[str, str]]) -> None:
        for word, line in lines:
            self.console.print(f"{word:8}{line}", markup=False, highlight=False)


def _built(report: ShadowReport, seconds: float, person: str) -> Outcome:
    machine = {"into": "shadow", "complete": True, "seconds": seconds}
    return Outcome(machine | report._asdict(), person)


@contextmanager
def _interruptible() -> Iterator[_Phase]:
    phase = _Phase()
    try:
        with terminable():
            yield phase
    except KeyboardInterrupt:
        raise Interrupted(phase.told) from None
