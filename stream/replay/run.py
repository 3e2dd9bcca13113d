"""A replay from what a person asked to what he is told: plan, bar, checkpoint, report."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console

from stream.cluster import terminable
from stream.kafka_login import require_broker
from stream.replay.checkpoint import Checkpoint, default_path
from stream.replay.lag_gate import ReplayError
from stream.replay.orders import Orders, plan
from stream.replay.past import Past
from stream.replay.progress import replay_bar, show
from stream.replay.shadow_target import into_shadow
from stream.replay.sources import Source
from stream.replay.topic_target import ReplayProgress, replay
from stream.settings import Settings

SHADOW_STATE = "in Redis, beside the shadow set"


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
    if orders.into == "shadow":
        past = source.open({})
        return (
            _told(settings, orders, past, SHADOW_STATE, console)
            if dry_run
            else _shadow(settings, orders, source, past, console)
        )
    work = {
        "reads": source.reads, "writes": settings.events_topic, "brokers": settings.brokers,
    }  # fmt: skip
    state = orders.state or default_path(work)
    checkpoint = Checkpoint(state, work, again=orders.again)
    if checkpoint.is_complete and not dry_run:
        source.finish()
        return Outcome(
            {"into": "events", "complete": True, "sent": 0, "state": str(state)},
            f"all of it has been sent before ({state}); --again sends it once more, which changes "
            "no profile",
        )
    past = source.open(checkpoint.notes)
    if dry_run:
        return _told(settings, orders, past, checkpoint.told(), console)
    require_broker(settings)
    _tell(plan(settings, orders, past, checkpoint.told()), console)
    with checkpoint:
        checkpoint.notes = source.notes
        return _topic(settings, orders, source, past, checkpoint, console)


def _topic(
    settings: Settings,
    orders: Orders,
    source: Source,
    past: Past,
    checkpoint: Checkpoint,
    console: Console,
) -> Outcome:
    before = source.done(checkpoint.position)
    checkpoint.keep(checkpoint.position)
    with _bar(console, past, before) as update, _interruptible(checkpoint.path):
        report = replay(
            settings,
            past,
            checkpoint.position,
            rate=orders.rate,
            speed=orders.speed,
            max_lag=orders.lag_bound,
            progress=update,
            keep=checkpoint.keep,
        )
    checkpoint.complete()
    source.finish()
    machine = {"into": "events", "complete": True, "state": str(checkpoint.path), "before": before}
    return Outcome(
        machine | report._asdict(),
        f"{report.sent:,} events in {report.seconds:.1f} s, highest lag {report.highest_lag:,}",
    )


def _shadow(
    settings: Settings, orders: Orders, source: Source, past: Past, console: Console
) -> Outcome:
    _tell(plan(settings, orders, past, SHADOW_STATE), console)
    started = time.monotonic()
    with _bar(console, past, 0) as update, _interruptible(SHADOW_STATE):
        report = asyncio.run(
            into_shadow(
                settings,
                past,
                source.topics,
                begin=lambda done: update.begin(source.done(done)),
                progress=lambda done, newest: update(ReplayProgress(done, newest, -1)),
            )
        )
    source.finish()
    seconds = time.monotonic() - started
    return Outcome(
        {"into": "shadow", "complete": True, "seconds": seconds} | report._asdict(),
        f"{report.events:,} events in {seconds:.1f} s are in generation {report.generation}, the "
        "shadow set; `nextclick replay compare` and `cutover` follow",
    )


def _told(settings: Settings, orders: Orders, past: Past, state: str, console: Console) -> Outcome:
    lines = plan(settings, orders, past, state)
    _tell(lines, console)
    machine = {"into": orders.into, "dry_run": True, "total": past.total()}
    return Outcome(
        machine | {"plan": [f"{word} {line}".strip() for word, line in lines]},
        "nothing was sent or built; leave out --dry-run to do it",
    )


def _tell(lines: Sequence[tuple[str, str]], console: Console) -> None:
    for word, line in lines:
        console.print(f"{word:8}{line}", markup=False, highlight=False)


class _Bar:
    """Takes progress; ``before`` is what earlier runs have done."""

    def __init__(self, show: Callable[[ReplayProgress, int], None], before: int) -> None:
        self._show, self._before = show, before

    def begin(self, before: int) -> None:
        """Say what has been done before."""
        self._before = before

    def __call__(self, progress: ReplayProgress) -> None:
        self._show(progress, self._before)


@contextmanager
def _bar(console: Console, past: Past, before: int) -> Iterator[_Bar]:
    with replay_bar(console) as bar:
        task = bar.add_task("replay", total=past.total(), completed=before, position="", lag="")
        yield _Bar(lambda progress, done: show(bar, task, progress, done), before)


@contextmanager
def _interruptible(state: object) -> Iterator[None]:
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on where it was ({state})") from None
