"""What ``nextclick train`` and ``export`` do, and which days a bundle has learned from."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.bundle import Manifest, Precision
    from model.dataset import EventLog
    from model.index_gate import Indexing
    from model.items import Item
    from model.setting_search import SearchRequest
    from model.trainer import TrainConfig

DAY_MS = 86_400_000


class EvaluationError(RuntimeError):
    """A log that says nothing about a bundle; the message says what to give instead."""


@contextmanager
def training_bar(console: Console) -> "Iterator[Callable[[str, float], None]]":
    """A progress bar, as the callback that training takes."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)


def train_to(
    log: "EventLog",
    out: Path,
    config: "TrainConfig",
    *,
    seed: int,
    checkpoint: Path | None,
    console: Console,
    precisions: "Sequence[Precision]" = (),
    indexing: "Indexing" = "auto",
    search: "SearchRequest | None" = None,
    items: "Sequence[Item]" = (),
) -> "Manifest":
    """Search for settings if that is asked for, train, and write a bundle.

    Raises:
        model.judging.TrainError, model.export.ExportError: see `model.train.train_bundle` and
            `model.setting_search.search_settings`.
    """
    from model.train import train_bundle

    found = None
    if search:
        from model.setting_search import search_settings

        with training_bar(console) as progress:
            config, found = search_settings(log, config, search, seed=seed, progress=progress)
    with training_bar(console) as progress:
        return train_bundle(
            log, out, config, seed=seed, progress=progress, checkpoint=checkpoint,
            precisions=precisions, indexing=indexing, search=found, items=items,
        )  # fmt: skip


def export_to(
    log: "EventLog",
    out: Path,
    config: "TrainConfig",
    *,
    seed: int,
    checkpoint: Path,
    console: Console,
    indexing: "Indexing" = "auto",
    items: "Sequence[Item]" = (),
) -> "Manifest":
    """Write a bundle of the best epoch so far; the checkpoint stays as it is.

    Raises:
        model.checkpoint.CheckpointError: it is missing, damaged, or of another run.
        model.judging.TrainError, model.export.ExportError: see `model.train.train_bundle`.
    """
    from model.checkpoint import Checkpoint, CheckpointError
    from model.train import frequent_items, split_of, train_bundle, trainer_of

    split = split_of(log, config)
    vocabulary = frequent_items(split.train, config.min_count)
    fingerprint = trainer_of(split, vocabulary, config, seed, items).fingerprint
    state = Checkpoint(checkpoint, fingerprint).load()
    if state is None:
        raise CheckpointError(
            f"there is no checkpoint {checkpoint}; name the one that `nextclick train` was given "
            "(it is removed when a training ends, which has then written its bundle)"
        )
    with TemporaryDirectory() as folder, training_bar(console) as progress:
        # A copy in which no epoch is left to do: training "goes on" from its end.
        finished = Path(folder) / "finished"
        Checkpoint(finished, fingerprint).save({**state, "epoch": config.epochs})
        return train_bundle(
            log, out, config, seed=seed, progress=progress, checkpoint=finished,
            indexing=indexing, items=items,
        )  # fmt: skip


class JudgedDay(NamedTuple):
    """A midnight (UTC) from which on cases are judged."""

    milliseconds: int

    def __str__(self) -> str:
        return _day(self.milliseconds)


def first_judged_day(manifest: "Manifest", since: date | None) -> JudgedDay:
    """From which day on a bundle may be judged.

    Args:
        manifest: says what the bundle has learned from.
        since: the day that a person asks for; by default the first one that neither training nor
            the choice of the blend has seen.

    Raises:
        EvaluationError: the bundle has learned from that day.
    """
    learned = datetime.fromisoformat(manifest.training_range[1])
    learned_until = (int(learned.timestamp() * 1000) // DAY_MS + 1) * DAY_MS
    if since is None:
        return JudgedDay(learned_until + int(manifest.network.get("validation_days", 0)) * DAY_MS)
    asked = int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() * 1000)
    if asked < learned_until:
        raise EvaluationError(
            f"the bundle has learned from events up to {_day(learned_until - 1)}; a later day "
            "than that must come after --since"
        )
    return JudgedDay(asked)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")
