"""``nextclick``: one verb a job. Each verb imports what it needs when it is called."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stream import cli_acl, cli_api, cli_evaluate, cli_forget, cli_model, cli_recommend, cli_sign
from stream.cli_dlq import dlq
from stream.cli_output import (
    INCOMPLETE,
    MENDABLE,
    BadRows,
    BundleOption,
    Files,
    Json,
    ProviderOption,
    Pseudonymise,
    err,
    mapping_named,
    out,
    say,
    tell_settings,
)
from stream.cli_replay import replay
from stream.complaint import complaint
from stream.settings import Settings, override_environment

app = typer.Typer(
    name="nextclick",
    help="A stream of clicks and searches in, a stream of personal recommendations out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.command(epilog="Example: `nextclick up --provider cpu --catalog items.parquet`")
def up(
    catalog: Annotated[
        list[Path] | None,
        typer.Option(help="Catalogue file to load first; may be given again.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
) -> None:
    """Run broker, Redis, workers, API and console on this machine, without installing any, until
    Ctrl-C."""
    from stream.up import run_up

    override_environment({"bundle": bundle, "provider": provider})
    run_up(Settings(), workers=workers, catalog=catalog or [], console=out)


@app.command(epilog="Example: `nextclick worker --provider cpu`")
def worker(
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    pseudonymise: Pseudonymise = False,
    follow_owner: Annotated[
        bool, typer.Option("--follow-owner", hidden=True, help="Stop when standard input ends.")
    ] = False,
) -> None:
    """Serve events until a signal ends it; the same as `faust -A stream.app worker`."""
    from stream.worker_process import run_worker

    override_environment(
        {"bundle": bundle, "provider": provider, "pseudonymise": pseudonymise or None}
    )
    run_worker(Settings(), follow_owner=follow_owner)


@app.command(epilog="Example: `nextclick ingest items.parquet`")
def ingest(
    files: Files,
    mapping: Annotated[
        str | None,
        typer.Option(
            help="Ready mapping by name, or TOML file, of files that hold no items of ours.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a catalogue to the `catalog` topic and read it back.

    With a mapping (docs/mapping.md) the items come out of files of others, logs too. Rows that
    break the contract are reported with file and line and left out; the exit status is then 1.
    Status 2: the files are no such catalogue, or the items are not in the topic.
    """
    from stream.catalogue_files import read_items
    from stream.ingest import ingest as run

    bad = BadRows()
    items = read_items(files, bad.report, mapping_named(mapping))
    with err.status("writing the catalogue") as status:
        report = asyncio.run(
            run(
                Settings(),
                items,
                progress=lambda rows: status.update(f"{rows:,} items written"),
            )
        )
    if report.dropped:
        err.print(
            f"warning: the broker dropped {report.dropped:,} older records of the catalogue; the "
            "embedded broker keeps about 5 MB of a partition"
        )
    say(
        as_json,
        report._asdict() | {"bad": bad.count},
        f"{report.items:,} items in {report.seconds:.1f} s, {bad.count:,} rows left out",
    )
    bad.exit()


app.command(epilog="Example: `nextclick recommend household-17 --query 智能手机 --explain`")(
    cli_recommend.recommend
)


@app.command(epilog="Example: `nextclick check --provider cpu`")
def check(
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config",
            help="Print every setting and where it comes from, secrets masked; reach nothing.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Reach Kafka, Redis, bundle and provider; say what is wrong and how to mend it.

    The exit status is 1 where something is wrong.
    """
    override_environment({"bundle": bundle, "provider": provider})
    if show_config:
        tell_settings(Settings(), as_json)
        return
    from stream.check import check as run

    findings = asyncio.run(run(Settings()))
    lines = "\n".join(f"{each.state:8}{each.name}: {each.text}" for each in findings)
    say(as_json, {"findings": [each._asdict() for each in findings]}, lines)
    if any(each.state == "wrong" for each in findings):
        raise typer.Exit(INCOMPLETE)


@app.command(epilog="Example: `NEXTCLICK_REPLICATION_FACTOR=3 nextclick topics`")
def topics(
    only_check: Annotated[
        bool, typer.Option("--check", help="Compare only; make nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing and compare the others with the settings.

    The exit status is 1 where a topic is missing or differs; none that exists is ever changed.
    """
    from stream.topics import check_topics, create_topics

    states = check_topics(Settings()) if only_check else create_topics(Settings())
    lines = "\n".join(
        f"{each.state:8}{each.name}" + "".join(f"\n        {text}" for text in each.differences)
        for each in states
    )
    say(as_json, {"topics": [each._asdict() for each in states]}, lines)
    if any(each.state in ("missing", "differs") for each in states):
        raise typer.Exit(INCOMPLETE)


@app.command(epilog="Example: `nextclick demo`")
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay up afterwards, with the console, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the whole job on a real shop log: train, serve, replay, and measure what came out."""
    from stream.demo import run_demo

    run_demo(Console(emoji=False), keep=keep)


app.command(epilog="Example: `nextclick train events.parquet --out bundle`")(cli_model.train)
app.command(epilog="Example: `nextclick export events.parquet --checkpoint run.pt`")(
    cli_model.export
)
app.command(epilog="Example: `nextclick evaluate events.parquet --since 2026-01-19`")(
    cli_evaluate.evaluate
)
app.command("sign-bundle", epilog="Example: `nextclick sign-bundle --key signing.pem`")(
    cli_sign.sign_bundle
)
app.command(epilog="Example: `nextclick forget household-17 --wait`")(cli_forget.forget)
app.command(epilog="Example: `nextclick api --port 8080`")(cli_api.api)
app.command(epilog="Example: `nextclick acl --user shop`")(cli_acl.acl)
app.command("api-key", epilog="Example: `nextclick api-key shop --scope read --scope recommend`")(
    cli_api.api_key
)
app.add_typer(dlq, name="dlq")
app.add_typer(replay, name="replay")


def main() -> None:
    """Entry point: what a person can mend ends in one sentence and exit status 2."""
    try:
        app()
    except Exception as error:
        sentence = complaint(error)
        if sentence is None:
            raise
        err.print(f"nextclick: {sentence}", markup=False, highlight=False)
        sys.exit(MENDABLE)


if __name__ == "__main__":
    main()
