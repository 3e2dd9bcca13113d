"""The verbs that make and judge a model bundle: ``train``, ``export``, ``evaluate``."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli_output import BadRows, BundleOption, Files, Json, err, out, say
from stream.settings import Settings

if TYPE_CHECKING:
    from model.bundle import Manifest
    from model.trainer import TrainConfig

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


def train(
    files: Files,
    out_folder: Out = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    min_count: MinCount = None,
    validation_days: ValidationDays = None,
    test_days: TestDays = None,
    repeats: Repeats = True,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File to keep after each epoch, and to go on from where it exists."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on event files, export to ONNX with a parity check, and write a model bundle.

    The network learns on the past, choices are made on the validation days, and the last days
    judge the shipped graph once. What is not said is as in the demonstration. Needs the extra
    `train` (torch).
    """
    from stream.event_log import read_event_log
    from stream.training import train_to

    bad = BadRows()
    config = _config(repeats, epochs, min_count, validation_days, test_days)
    log = read_event_log(files, bad.report)
    folder = out_folder or Settings().bundle
    manifest = train_to(log, folder, config, seed=seed, checkpoint=checkpoint, console=err)
    _tell(manifest, folder, bad, as_json)


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
    as_json: Json = False,
) -> None:
    """Write a bundle of the best epoch so far of a training that still runs or was cut off.

    Exports to ONNX with a parity check, fits and judges as `train` does at its end. Give the files
    and options that the training was given; the checkpoint stays. Needs the extra `train` (torch).
    """
    from stream.event_log import read_event_log
    from stream.training import export_to

    bad = BadRows()
    config = _config(repeats, epochs, min_count, validation_days, test_days)
    log = read_event_log(files, bad.report)
    folder = out_folder or Settings().bundle
    manifest = export_to(log, folder, config, seed=seed, checkpoint=checkpoint, console=err)
    _tell(manifest, folder, bad, as_json)


def evaluate(
    files: Files,
    bundle: BundleOption = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="First day to predict; by default the first that training has not seen.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a bundle on the next baskets of event files, all items ranked, beside baselines.

    The shipped ONNX graph makes the lists, the way a worker does. Needs no torch.
    """
    from rich.table import Table

    from model.bundle import load_bundle
    from stream.event_log import read_event_log
    from stream.training import evaluate_bundle

    bad = BadRows()
    loaded = load_bundle(bundle or Settings().bundle)
    log = read_event_log(files, bad.report)
    with err.status("judging"):
        found = evaluate_bundle(loaded, log, since.date() if since else None)
    if as_json:
        metrics = {name: each.named() for name, each in found.items()}
        say(True, {"bundle": loaded.manifest.version, "metrics": metrics, "bad": bad.count}, "")
    else:
        table = Table(title=f"{next(iter(found.values())).baskets:,} next baskets")
        table.add_column("")
        for column in ("Hit@10", "NDCG@10"):
            table.add_column(column, justify="right")
        for name, each in found.items():
            table.add_row(name, f"{each.hit:.4f}", f"{each.ndcg:.4f}")
        out.print(table, soft_wrap=False)
    bad.exit()


def _config(
    repeats: bool,
    epochs: int | None,
    min_count: int | None,
    validation_days: int | None,
    test_days: int | None,
) -> "TrainConfig":
    """What is asked for; the rest as in the demonstration."""
    from model.trainer import TrainConfig

    asked = {
        "epochs": epochs,
        "min_count": min_count,
        "validation_days": validation_days,
        "test_days": test_days,
    }
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return replace(TrainConfig(repeats_allowed=repeats), **given)


def _tell(manifest: "Manifest", folder: Path, bad: BadRows, as_json: bool) -> None:
    machine = {
        "bundle": str(folder),
        "version": manifest.version,
        "metrics": manifest.metrics,
        "bad": bad.count,
    }
    lines = [f"bundle {manifest.version} in {folder}, {bad.count:,} rows left out"]
    for name, values in manifest.metrics.items():
        figures = ", ".join(
            f"{metric} {value:.4f}" for metric, value in values.items() if "@" in metric
        )
        lines.append(f"  {name}: {figures}")
    say(as_json, machine, "\n".join(lines))
    bad.exit()
