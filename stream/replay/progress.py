"""The progress bar of a replay: pace, place in event time, lag of the workers, time left."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class PaceColumn(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> Text:
        """The pace of the last half minute."""
        return Text(f"{task.speed or 0:,.0f}/s")


def replay_bar(console: Console) -> Progress:
    """A bar for tasks with the fields ``position`` (event time) and ``lag``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        PaceColumn(),
        TextColumn("{task.fields[position]}"),
        TextColumn("{task.fields[lag]}"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=30,
    )


class ReplayBar:
    """One task of such a bar."""

    def __init__(self, bar: Progress, name: str, *, total: int | None) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task(name, total=total, position="", lag="")
        self.done = 0
        """Records that are behind it, whether sent or left out."""

    def begin(self, done: int) -> None:
        """Say what earlier runs have done; the pace is that of what comes now."""
        self.done = done
        self._bar.reset(self._task, completed=done)

    def show(self, done: int, event_time_ms: int, lag: int | None = None) -> None:
        """Bring it up to date; ``lag``: of the workers, None where they have no part in it."""
        self.done = done
        self._bar.update(
            self._task,
            completed=done,
            position=event_time(event_time_ms) if event_time_ms else "",
            lag="" if lag is None else "lag unwatched" if lag < 0 else f"lag {lag:,}",
        )


@contextmanager
def one_replay_bar(console: Console, *, total: int | None) -> Iterator[ReplayBar]:
    """A bar with one task."""
    with replay_bar(console) as bar:
        yield ReplayBar(bar, "replay", total=total)


def event_time(milliseconds: int) -> str:
    """Event time for a person, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")
