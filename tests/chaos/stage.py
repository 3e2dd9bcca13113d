"""What is asked of a run, everything that takes part in it, and its course."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import TextColumn, TimeElapsedColumn

from tests.chaos.fleet import MOST, Fleet
from tests.chaos.injection import Injection
from tests.chaos.ledger import Ledger
from tests.chaos.producer import TrafficProducer
from tests.chaos.recovery import Progress
from tests.chaos.schedule import Fault, Kind, one_by_one, schedule
from tests.chaos.servers import Servers
from tests.chaos.tail import Tail
from tests.chaos.traffic import Traffic

MOST_LAG = 8_000
"""Records between producer and workers: seconds of work, so that a partition that is free again
soon has its turn. The embedded broker drops what lags far behind."""
LEAST_LAG = 2_000
"""Workers commit once a second: with less at hand they would have nothing to lose between."""
STUCK_S = 180.0
"""No partition goes on for so long: not a recovery any more."""
LONG_RUN = 50_000
PARTITIONS = {True: 16, False: 6}
"""Of a long run and of a short one, whose users are few."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a run."""

    events: int
    faults: int
    seed: int
    kafka: Path | None
    """The folder of Apache Kafka's jars; None for the embedded broker."""
    sabotage: str = ""
    """What is broken in the workers on purpose."""
    kinds: tuple[Kind, ...] = ()
    """Of the faults, one by one, instead of the mixture of a real run."""
    workers: int = MOST

    @property
    def backend(self) -> str:
        """The broker's name."""
        return "embedded" if self.kafka is None else "kafka"

    @property
    def partitions(self) -> int:
        """Of each topic."""
        return PARTITIONS[self.events >= LONG_RUN]

    def schedule(self) -> list[Fault]:
        """The faults of the run."""
        if self.kinds:
            return one_by_one(self.kinds, self.events, self.seed)
        return schedule(self.faults, self.events, self.seed, embedded=self.kafka is None)


@dataclass
class Stage:
    """Everything that takes part in one run."""

    plan: Plan
    servers: Servers
    fleet: Fleet
    ledger: Ledger
    tail: Tail
    progress: Progress
    injection: Injection
    failures: list[str] = field(default_factory=list)

    def ends(self) -> dict[int, int]:
        """By partition, where the events topic ends as far as it was read."""
        return self.tail.read(self.servers.settings.events_topic)

    def is_sound(self) -> bool:
        """Note what has gone wrong with the run; whether it may go on."""
        self.fleet.note_deaths()
        if self.tail.error is not None:
            self.failures.append(f"the topics cannot be read: {self.tail.error}")
        elif time.monotonic() - self.progress.moved_at > STUCK_S:
            self.failures.append(
                f"stuck: nothing was committed for {STUCK_S:.0f} s; committed "
                f"{self.progress.committed}, logged {self.ends()}"
            )
        return not self.failures


def drive(stage: Stage, console: Console) -> float:
    """Send all traffic under all faults, and see it done; returns how long that took."""
    plan, progress, injection = stage.plan, stage.progress, stage.injection
    producer = TrafficProducer(stage.servers.direct.brokers, stage.servers.settings.events_topic)
    most_lag = min(MOST_LAG, max(LEAST_LAG, plan.events // 8))
    begin = progress.moved_at = time.monotonic()
    columns = [*ProgressBar.get_default_columns(), TimeElapsedColumn()]
    columns.append(TextColumn("{task.fields[f]}"))
    with ProgressBar(*columns, console=console, refresh_per_second=1) as bar:
        task = bar.add_task("events done", total=plan.events, f="")

        def go_on() -> bool:
            """One look around; whether the run may go on."""
            injection.advance(progress.done)
            told = f"{injection.injected.total()} faults"
            bar.update(task, completed=progress.done, f=told)
            return stage.is_sound()

        def wait_for_room(sent: int) -> bool:
            while (sound := go_on()) and sent - progress.done > most_lag:
                time.sleep(0.05)
            return sound

        producer.write(Traffic(plan.events, plan.seed, plan.partitions), wait_for_room)
        while go_on() and not _is_done(stage, producer.sent):
            time.sleep(0.1)
        seconds = time.monotonic() - begin
        bar.update(task, completed=progress.done)
    injection.end()
    stage.failures += injection.errors
    _settle(stage)
    return seconds


def _is_done(stage: Stage, sent: int) -> bool:
    ends = stage.ends()
    return (
        stage.injection.is_over and sum(ends.values()) == sent and stage.progress.committed == ends
    )


def _settle(stage: Stage) -> None:
    """Stop the workers and read the topics to their ends."""
    if not stage.failures:
        stage.fleet.wait_ready()
    stage.fleet.stop()
    deadline = time.monotonic() + STUCK_S
    while stage.tail.error is None and not stage.tail.is_at_end():
        if time.monotonic() > deadline:
            stage.failures.append("the topics could not be read to their ends")
            return
        time.sleep(0.1)
    if stage.progress.committed != stage.ends():
        stage.failures.append(
            f"a lag is left: committed {stage.progress.committed}, logged {stage.ends()}"
        )
    if stage.ledger.events != stage.plan.events and not stage.failures:
        stage.failures.append(
            f"the log has {stage.ledger.events} records where {stage.plan.events} were sent"
        )
