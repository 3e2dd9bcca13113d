"""The verb that judges a model bundle, or a search: ``evaluate``."""

import shlex
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream.cli_output import (
    BadRows,
    BundleOption,
    Json,
    MappingOption,
    err,
    mapping_named,
    out,
    say,
)
from stream.settings import Settings


class Protocol(StrEnum):
    """Those of `model.protocols`, which is too heavy to load for the sake of a help page."""

    next_basket = "next-basket"
    leave_one_out = "leave-one-out"
    session = "session"
    prequential = "prequential"
    search = "search"


class GraphPrecision(StrEnum):
    """Those of `model.bundle`."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def evaluate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="JSONL or CSV (plain, .gz, .zst) or Parquet files.", show_default=False
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="File, or folder of such files, to read as well; may be given again.",
            show_default=False,
        ),
    ] = None,
    bundle: BundleOption = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="What is asked: the next basket, each user's last event, the next event within "
            "a session, every next event in the order of time, or, of a folder of graded queries, "
            "searches."
        ),
    ] = Protocol.next_basket,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="First day to predict; by default the first that training has not seen.",
            show_default=False,
        ),
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="At most so many, drawn at random; by default all, and 20000 of a prequential "
            "walk.",
            show_default=False,
        ),
    ] = None,
    catalog: Annotated[
        list[Path] | None,
        typer.Option(
            help="Catalogue file: how diverse lists are is then told by category, and items that "
            "the bundle has not learned are scored, and sources that go by it asked, as in a "
            "worker. May be given again.",
            show_default=False,
        ),
    ] = None,
    mapping: MappingOption = None,
    tune_seconds: Annotated[
        float, typer.Option(min=0, help="To tune the baseline of counts in; 0: it is not tuned.")
    ] = 60.0,
    precision: Annotated[
        GraphPrecision, typer.Option(help="Which of the bundle's graphs is judged.")
    ] = GraphPrecision.fp32,
    diversity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="How much lists vary; by default as the bundle says.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Text encoder of searches; by default that of the settings.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.json, report.md and plots; needs the extra `report`.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a bundle on event files, all items ranked, beside baselines.

    The shipped ONNX graph makes the lists, the way a worker does: from the profile just before
    each answer, and what is shared as of the midnight before. `prequential` also tells what real
    time is worth: the same with profiles that stand still since the hour, or the day, began. A
    session is that of the `session_id`; of events without one, half an hour without an event ends
    it. Needs no torch.

    `--protocol search` judges searches alone, without a bundle: of a folder with queries.csv
    (query_id, query), items.csv (item_id, title; brand, category) and judgements.csv (query_id,
    item_id, grade) it tells nDCG@10 and recall@20 by words, by meaning and by both
    (docs/search.md).
    """
    if protocol is Protocol.search:
        _evaluate_search([*(files or []), *(data or [])], encoder, seed, as_json=as_json)
        return
    from model.bundle import load_bundle
    from stream.evaluation import EvaluationRequest, evaluate_bundle, evaluated, event_files
    from stream.evaluation_tables import notes, sheets
    from stream.event_log import read_event_log
    from stream.report_folder import require_report, write_report
    from stream.training import training_bar

    if report:
        require_report(report)
    bad = BadRows()
    settings = Settings()
    loaded = load_bundle(bundle or settings.bundle, settings.bundle_public_key)
    reads = mapping_named(mapping)
    log = read_event_log(event_files(files or [], data or []), bad.report, reads)
    request = EvaluationRequest(
        protocol.value, since.date() if since else None, cases, seed, tune_seconds, precision.value,
        diversity,
    )  # fmt: skip
    with training_bar(err) as progress:
        found = evaluate_bundle(
            loaded, log, request, catalog or [], reads, report=bad.report, progress=progress
        )
    if as_json:
        say(True, evaluated(found) | {"bad": bad.count}, "")
    else:
        for sheet in sheets(found):
            out.print(sheet.rich(), soft_wrap=False)
        for line in notes(found):
            out.print(line, markup=False, highlight=False)
    # Last: a disk that is full by now must not cost the verdict.
    if report:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        for path in write_report(found, report, command):
            (err if as_json else out).print(f"wrote {path}", markup=False, highlight=False)
    bad.exit()


def _evaluate_search(folders: list[Path], encoder: str | None, seed: int, *, as_json: bool) -> None:
    from stream.search_evaluation import assess_search, search_figures, search_sheet
    from stream.search_folder import read_search_folder
    from stream.text_search import search_index
    from stream.training import training_bar

    if len(folders) != 1:
        raise typer.BadParameter("name one folder of graded queries", param_hint="--data")
    settings = Settings()
    found = read_search_folder(folders[0])
    index = search_index(encoder or settings.text_encoder, settings.text_cache)
    with training_bar(err) as progress:
        judged = assess_search(found, index, seed=seed, progress=progress)
    if as_json:
        say(True, search_figures(judged), "")
    else:
        out.print(search_sheet(judged).rich(), soft_wrap=False)
