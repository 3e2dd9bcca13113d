"""The replay of files with a progress bar: pace, place in event time, lag of the workers."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from stream.kafka import require_broker
from stream.replay.file_past import FilePast
from stream.replay.topic_target import MAX_LAG, ReplayProgress, ReplayReport, replay
from stream.rows import BadRow
from stream.settings import Settings


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
        TextColumn("lag {task.fields[lag]}"),
        console=console,
        speed_estimate_period=30,
    )


def show(bar: Progress, task: TaskID, progress: ReplayProgress) -> None:
    """Bring the bar up to date."""
    lag = "unwatched" if progress.lag < 0 else f"{progress.lag:,}"
    bar.update(
        task,
        completed=progress.sent,
        position=event_time(progress.event_time),
        lag=lag,
    )


def event_time(milliseconds: int) -> str:
    """Event time for a person, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def replay_files(
    settings: Settings,
    paths: Sequence[Path],
    *,
    rate: float | None,
    max_lag: int | None,
    report: Callable[[BadRow], None],
    console: Console,
) -> ReplayReport:
    """Check the files, then replay them; ``report`` gets each row that is left out.

    Raises:
        RowsError: a file cannot be read or put in order; nothing has been sent.
        BrokerError, TopicError, ReplayError: see `stream.replay.topic_target.replay`.
    """
    with console.status("reading the files"):
        past = FilePast(paths, report)
        summary = past.prepare()
    require_broker(settings)
    events = (each.event for batch in past.batches({}) for each in batch.decoded)
    with replay_bar(console) as bar:
        task = bar.add_task(
            "replay", total=summary.events, position=event_time(summary.first), lag="?"
        )
        done = asyncio.run(
            replay(
                settings,
                events,
                rate=rate,
                max_lag=MAX_LAG if max_lag is None else max_lag,
                progress=lambda progress: show(bar, task, progress),
            )
        )
    past.finish()
    return done
