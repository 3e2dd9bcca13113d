"""The verbs of ``nextclick replay``: the past again, from files or from Kafka."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli_generations import register
from stream.cli_output import INCOMPLETE, MENDABLE, BadRows, Json, err, say
from stream.settings import Settings

if TYPE_CHECKING:
    from model.mapping import Mapping
    from stream.replay.bad_pile import BadPile
    from stream.replay.orders import Orders
    from stream.replay.sources import Source

INTERRUPTED = 130
"""Exit status of a run that Ctrl-C or SIGTERM has ended, as shells have it."""

replay = typer.Typer(
    help="Bring the past back: old events of files or of Kafka, once more.",
    epilog="Example: `nextclick replay files events-2026-01.jsonl.zst`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

IntoOption = Annotated[
    str,
    typer.Option("--into", help="`events`: the topic of that name; `shadow`: a shadow generation."),
]
RateOption = Annotated[
    str | None,
    typer.Option("--rate", help="At most so many events a second, such as `5000`."),
]
SpeedOption = Annotated[
    str | None,
    typer.Option("--speed", help="At most so many times the speed of event time, such as `10x`."),
]
LagOption = Annotated[
    int | None,
    typer.Option(
        "--max-lag",
        min=0,
        help="Wait while the workers are so many events behind (5000); 0: never wait.",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="File that remembers how far it is; by default one in `.nextclick/replay/`.",
        show_default=False,
    ),
]
AgainOption = Annotated[bool, typer.Option("--again", help="Begin anew, whatever was done before.")]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Only say what would be read and written. Files are sorted for it all the same, and "
        "what is sorted stays in `.nextclick/replay/` for the next run.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at the first that breaks the contract.")
]
KeepGoingOption = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Go on where none of the first 1,000 makes an event, too: it is no wrong mapping.",
    ),
]
BadRowsOption = Annotated[
    Path | None,
    typer.Option(
        "--bad-rows",
        help="File for all that is left out; by default one in `.nextclick/replay/`.",
        show_default=False,
    ),
]
MappingOption = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        help="Ready mapping by name, or TOML file, of what is no event of ours.",
        show_default=False,
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="Rename: COLUMN=FIELD; may be given again.", show_default=False),
]


@replay.command(
    "files", epilog="Example: `nextclick replay files events-2026-01.jsonl.zst --rate 2000`"
)
def files_verb(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL or CSV (plain, .gz, .zst) or Parquet files, folders, patterns, or `-` for "
            "standard input.",
            show_default=False,
        ),
    ],
    into: IntoOption = "events",
    rate: RateOption = None,
    speed: SpeedOption = None,
    max_lag: LagOption = None,
    state: StateOption = None,
    again: AgainOption = False,
    dry_run: DryRunOption = False,
    strict: StrictOption = False,
    keep_going: KeepGoingOption = False,
    bad_rows: BadRowsOption = None,
    mapping: MappingOption = None,
    renames: MapOption = None,
    as_json: Json = False,
) -> None:
    """Bring the events of files back, in event-time order.

    They go to the `events` topic, marked as a replay, or into a shadow generation. What was
    stopped goes on with the same command. Events are sorted by time across all files, on disk where
    they are many. Rows that break the contract are reported with file and line and left out; the
    exit status is then 1. Of a file that is damaged what stands before the damage is taken, and the
    status is 2. So it is, with nothing sent or built, where none of the first rows makes an event.
    """
    from stream.replay.sources import FileSource

    orders = _orders(into, rate, speed, max_lag, state, again)
    with _pile(bad_rows, strict, anew=True) as pile:
        source = FileSource(
            files, pile, err, _mapping(mapping or "", renames), keep_going=keep_going
        )
        _run(orders, source, dry_run, as_json)


@replay.command(
    "topic", epilog="Example: `nextclick replay topic events --from 2026-01-05 --speed 10x`"
)
def topic_verb(
    topic: Annotated[str, typer.Argument(help="Name of the topic.", show_default=False)],
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="From this time on, by Kafka's stamps: 2026-01-05, 2026-01-05T08:00+01:00, or "
            "epoch milliseconds; UTC unless it says otherwise.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Before this time.", show_default=False)
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(
            "--from-offset",
            help="PARTITION:OFFSET to begin with; may be given again.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        list[str] | None,
        typer.Option(
            "--to-offset",
            help="PARTITION:OFFSET to stop before; may be given again.",
            show_default=False,
        ),
    ] = None,
    partitions: Annotated[
        list[int] | None,
        typer.Option(
            "--partition", min=0, help="Only this one; may be given again.", show_default=False
        ),
    ] = None,
    into: IntoOption = "events",
    rate: RateOption = None,
    speed: SpeedOption = None,
    max_lag: LagOption = None,
    state: StateOption = None,
    again: AgainOption = False,
    dry_run: DryRunOption = False,
    strict: StrictOption = False,
    keep_going: KeepGoingOption = False,
    bad_records: Annotated[
        Path | None,
        typer.Option(
            "--bad-rows",
            help="File to which all that is left out is added; by default one in "
            "`.nextclick/replay/`.",
            show_default=False,
        ),
    ] = None,
    mapping: MappingOption = None,
    renames: MapOption = None,
    as_json: Json = False,
) -> None:
    """Bring the events of a Kafka topic back: whole, by time, by offsets or by partition.

    They go to the `events` topic, marked as a replay, or into a shadow generation. What is
    read ends where the topic ends at the start. No consumer group is joined and nothing is
    committed. What was stopped goes on with the same command. Records that break the contract are
    reported with their place and left out; the exit status is then 1. Where none of the first
    makes an event, nothing is sent or built, and the status is 2.
    """
    from stream.replay.sources import TopicSource
    from stream.replay.topic_span import places_of, span_of, time_ms
    from stream.replay.work_folder import FOLDER

    orders = _orders(into, rate, speed, max_lag, state, again)
    with _parameters():
        span = span_of(
            partitions or (),
            places_of(first or []),
            places_of(end or []),
            None if since is None else time_ms(since),
            None if until is None else time_ms(until),
        )
    settings = Settings()
    name = mapping or ("" if renames else settings.input_mappings.get(topic, ""))
    with _pile(bad_records or FOLDER / f"bad-records-{topic}.jsonl", strict) as pile:
        source = TopicSource(
            settings, topic, span, pile, _mapping(name, renames),
            mapping_name=name or ",".join(renames or ()), keep_going=keep_going,
        )  # fmt: skip
        _run(orders, source, dry_run, as_json)


register(replay)


def _orders(
    into: str,
    rate: str | None,
    speed: str | None,
    max_lag: int | None,
    state: Path | None,
    again: bool,
) -> "Orders":
    from stream.replay.orders import Orders, number_of, target_of

    with _parameters():
        target = target_of(into)
        if rate is not None and speed is not None:
            raise ValueError("give --rate or --speed, not both")
        if target == "shadow" and (rate or speed or max_lag is not None or state or again):
            raise ValueError(
                "a shadow generation is built as fast as it goes and keeps its own state: leave "
                "out --rate, --speed, --max-lag, --state and --again"
            )
        return Orders(
            target, number_of(rate, "/s", "--rate"), number_of(speed, "x", "--speed"), max_lag,
            state, again,
        )  # fmt: skip


def _mapping(name: str, renames: list[str] | None) -> "Mapping | None":
    from model.mapping import Mapping

    if name and renames:
        raise typer.BadParameter("give --mapping or --map, not both")
    if renames:
        return Mapping.renaming(renames)
    return Mapping.named(name) if name else None


def _run(orders: "Orders", source: "Source", dry_run: bool, as_json: bool) -> None:
    """Run it, say what came of it, and end with the status that tells."""
    from stream.replay.run import Interrupted, run

    try:
        outcome = run(Settings(), orders, source, err, dry_run=dry_run)
    except Interrupted as error:
        err.print(f"nextclick: {error}", markup=False, highlight=False)
        sys.exit(INTERRUPTED)
    bad, damaged, person = source.left_out, list(source.damaged), outcome.person
    machine = outcome.machine | {"bad": bad, "damaged": damaged}
    if bad:
        machine["bad_rows"] = str(source.side_file)
        person += f"; {bad:,} left out, see {source.side_file}"
    say(as_json, machine, person)
    if damaged:
        more = f" (and {len(damaged) - 1:,} more files)" if len(damaged) > 1 else ""
        told = (
            f"nextclick: {damaged[0]}{more}; no more was taken than what stands before the damage"
        )
        err.print(told, markup=False, highlight=False)
        sys.exit(MENDABLE)
    if bad:
        raise typer.Exit(INCOMPLETE)


@contextmanager
def _parameters() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _pile(path: Path | None, strict: bool, *, anew: bool = False) -> "BadPile":
    from stream.replay.bad_pile import BadPile

    return BadPile(path, strict=strict, anew=anew, show=BadRows().report)
