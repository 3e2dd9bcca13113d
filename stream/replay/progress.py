"""The progress bar of a replay: pace, place in event time, lag of the workers, time left."""

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

from stream.replay.topic_target import ReplayProgress


class PaceColumn(ProgressColumn):
    """Events a second."""

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


def show(bar: Progress, task: TaskID, progress: ReplayProgress, before: int = 0) -> None:
    """Bring the bar up to date; ``before``: what an earlier run has done."""
    lag = "lag unwatched" if progress.lag < 0 else f"lag {progress.lag:,}"
    bar.update(
        task,
        completed=before + progress.sent,
        position=event_time(progress.event_time),
        lag=lag,
    )


def event_time(milliseconds: int) -> str:
    """Event time for a person, UTC; nothing for 0, which is none."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")
