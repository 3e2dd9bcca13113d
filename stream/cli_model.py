"""The verbs that make a model bundle: ``train``, ``export``."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli_output import BadRows, Files, Json, MappingOption, err, mapping_named
from stream.made_bundle import tell_bundle
from stream.settings import Settings

if TYPE_CHECKING:
    from model.setting_search import SearchRequest
    from model.trainer import TrainConfig


class IndexWish(StrEnum):
    """Those of `model.index_gate`."""

    auto = "auto"
    always = "always"
    never = "never"


Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder to write; by default the bundle of the settings."),
]
Seed = Annotated[int, typer.Option(help="The same seed and log give the same network.")]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Times to go through the log.", show_default=False)
]
MinCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rarer items are unknown to the network; counts still know them.",
        show_default=False,
    ),
]
ValidationDays = Annotated[
    int | None, typer.Option(min=1, help="Days on which choices are made.", show_default=False)
]
TestDays = Annotated[
    int | None,
    typer.Option(min=1, help="Last days, on which the result is judged.", show_default=False),
]
Repeats = Annotated[
    bool,
    typer.Option("--repeats/--no-repeats", help="Whether an item may come back to who bought it."),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="What lists are made for: click, cart, favorite, rating or purchase; by default "
        "purchase, or what there is most of where nothing is sold. The others are learned beside "
        "it.",
        show_default=False,
    ),
]
TaskWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--task-weight",
        help="How much a task counts in learning, such as click=0.2; 0 leaves it out. By default "
        "frequent ones count less. May be given again.",
        show_default=False,
    ),
]
Queries = Annotated[
    bool,
    typer.Option("--queries/--no-queries", help="Whether the network reads what users search for."),
]
Who = Annotated[
    bool,
    typer.Option(
        "--who/--no-who",
        help="Whether the network reads users' attributes, and the country and device of contexts.",
    ),
]

Catalog = Annotated[
    list[Path] | None,
    typer.Option(
        help="Catalogue file: the network then learns what words, categories, brands and prices "
        "say, and scores items that it has not learned by those; how much of what is popular in a "
        "category and of new items lists take is chosen on validation days. May be given again.",
        show_default=False,
    ),
]
Index = Annotated[
    IndexWish,
    typer.Option(
        help="Whether to make an index of the items, so that a CPU need not score all of them: "
        "`auto` makes one from 50,000 items on. It is kept if it costs at most half a percent of "
        "the NDCG@10."
    ),
]


def train(
    files: Files,
    out_folder: Out = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    min_count: MinCount = None,
    validation_days: ValidationDays = None,
    test_days: TestDays = None,
    repeats: Repeats = True,
    task: Task = None,
    task_weights: TaskWeights = None,
    queries: Queries = False,
    who: Who = False,
    catalog: Catalog = None,
    mapping: MappingOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File to keep after each epoch, and to go on from where it exists."),
    ] = None,
    variants: Annotated[
        bool,
        typer.Option(
            "--variants/--no-variants",
            help="Whether to make graphs in half precision and in 8 bits too; each is kept if it "
            "costs at most half a percent of the NDCG@10.",
        ),
    ] = True,
    index: Index = IndexWish.auto,
    search_minutes: Annotated[
        float | None,
        typer.Option(
            help="Before the training, search for settings so long: trials are judged on days "
            "before the test, each by a network that has learned from what came before those days.",
            show_default=False,
        ),
    ] = None,
    search_folds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Times that each trial is judged on, of --validation-days each; by default 3.",
            show_default=False,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="File to write trials of the search to, and to go on from where it exists.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on event files, export to ONNX with a parity check, and write a model bundle.

    The network learns on the past, choices are made on the validation days, and the last days
    judge the shipped graph once. What is not said is as in the demonstration, or, with
    `--search-minutes`, as a search finds it. Needs the extra `train` (torch).
    """
    from stream.catalogue_files import catalogue_items
    from stream.event_log import read_event_log
    from stream.training import train_to

    given = frozenset(
        name for name, value in {"epochs": epochs, "min_count": min_count}.items()
        if value is not None
    )  # fmt: skip
    search = _search(search_minutes, search_folds, journal, checkpoint, given)
    bad = BadRows()
    config = _config(
        repeats_allowed=repeats, epochs=epochs, min_count=min_count,
        validation_days=validation_days, test_days=test_days,
        task=task, task_weights=_weights(task_weights or []), queries=queries, who=who,
    )  # fmt: skip
    reads = mapping_named(mapping)
    log = read_event_log(files, bad.report, reads)
    folder = out_folder or Settings().bundle
    manifest = train_to(
        log, folder, config, seed=seed, checkpoint=checkpoint, console=err,
        precisions=("fp16", "int8") if variants else (), indexing=index.value, search=search,
        items=catalogue_items(catalog or [], bad.report, reads),
    )  # fmt: skip
    tell_bundle(manifest, folder, bad, as_json=as_json)


def export(
    files: Files,
    checkpoint: Annotated[
        Path, typer.Option(help="The file that `nextclick train` was given.", show_default=False)
    ],
    out_folder: Out = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    min_count: MinCount = None,
    validation_days: ValidationDays = None,
    test_days: TestDays = None,
    repeats: Repeats = True,
    task: Task = None,
    task_weights: TaskWeights = None,
    queries: Queries = False,
    who: Who = False,
    catalog: Catalog = None,
    mapping: MappingOption = None,
    index: Index = IndexWish.auto,
    as_json: Json = False,
) -> None:
    """Write a bundle of the best epoch so far of a training that still runs or was cut off.

    Exports to ONNX with a parity check, fits and judges as `train` does at its end. Give the files
    and options that the training was given; the checkpoint stays. Needs the extra `train` (torch).
    """
    from stream.catalogue_files import catalogue_items
    from stream.event_log import read_event_log
    from stream.training import export_to

    bad = BadRows()
    config = _config(
        repeats_allowed=repeats, epochs=epochs, min_count=min_count,
        validation_days=validation_days, test_days=test_days,
        task=task, task_weights=_weights(task_weights or []), queries=queries, who=who,
    )  # fmt: skip
    reads = mapping_named(mapping)
    log = read_event_log(files, bad.report, reads)
    folder = out_folder or Settings().bundle
    manifest = export_to(
        log, folder, config, seed=seed, checkpoint=checkpoint, console=err,
        indexing=index.value, items=catalogue_items(catalog or [], bad.report, reads),
    )  # fmt: skip
    tell_bundle(manifest, folder, bad, as_json=as_json)


def _config(**asked: Any) -> "TrainConfig":
    """What is asked for; the rest, None among it, as in the demonstration."""
    from model.trainer import TrainConfig

    return replace(
        TrainConfig(), **{name: value for name, value in asked.items() if value is not None}
    )


def _weights(asked: list[str]) -> tuple[tuple[str, float], ...]:
    """Task and weight of options such as ``click=0.2``."""
    found = []
    for each in asked:
        name, _, weight = each.partition("=")
        try:
            found.append((name, float(weight)))
        except ValueError:
            raise typer.BadParameter(
                f"{each!r} is no task and weight; write click=0.2", param_hint="--task-weight"
            ) from None
    return tuple(found)


def _search(
    minutes: float | None,
    folds: int | None,
    journal: Path | None,
    checkpoint: Path | None,
    fixed: frozenset[str],
) -> "SearchRequest | None":
    """What is asked for; what is given beside it is not searched."""
    if minutes is None:
        for option, value in {"--journal": journal, "--search-folds": folds}.items():
            if value is not None:
                raise typer.BadParameter("it is of a search; say --search-minutes too",
                                         param_hint=option)  # fmt: skip
        return None
    if checkpoint and not journal:
        raise typer.BadParameter("a search that is made anew may choose otherwise; give --journal "
                                 "too", param_hint="--checkpoint")  # fmt: skip
    if minutes <= 0:
        raise typer.BadParameter("must be more than 0", param_hint="--search-minutes")
    from model.setting_search import SearchRequest

    asked = {} if folds is None else {"folds": folds}
    return SearchRequest(minutes, journal=journal, fixed=fixed, **asked)
