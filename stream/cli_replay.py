"""The verbs of ``nextclick replay``: the past again, from files or from Kafka."""

from typing import Annotated

import typer

from stream.cli_output import BadRows, Files, Json, err, say
from stream.settings import Settings

replay = typer.Typer(
    help="Bring the past back: old events of files or of Kafka, once more.",
    epilog="Example: `nextclick replay files events-2026-01.jsonl.zst`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@replay.command(
    "files", epilog="Example: `nextclick replay files events-2026-01.jsonl.zst --rate 2000`"
)
def files_verb(
    files: Files,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="At most so many events a second.")
    ] = None,
    max_lag: Annotated[
        int | None,
        typer.Option(
            min=0, help="Wait while the workers are so many events behind (5000); 0: never wait."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send old events to the `events` topic, in event-time order and marked as a replay.

    Up to two million events are sorted where they are out of order; larger files must be in
    order. Rows that break the contract are reported with file and line and left out; the exit
    status is then 1.
    """
    from stream.replay.progress import replay_files

    bad = BadRows()
    report = replay_files(
        Settings(), files, rate=rate, max_lag=max_lag, report=bad.report, console=err
    )
    say(
        as_json,
        report._asdict() | {"bad": bad.count},
        f"{report.sent:,} events in {report.seconds:.1f} s, highest lag {report.highest_lag:,}, "
        f"{bad.count:,} rows left out",
    )
    bad.exit()
