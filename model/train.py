"""Training: learn on the past, choose on validation baskets, judge once on the test window.

``train`` gives a network; ``train_bundle`` is the whole job, down to a bundle on disk.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import UNSET

from model.blend import BlendWeights
from model.bundle import Manifest, ParityReport, Precision, VariantReport, write_bundle
from model.checkpoint import Checkpoint
from model.cold_items import ColdItems, cold_positions
from model.dataset import Baskets, EventLog, Split, cut_times, next_baskets, split_by_time
from model.evaluate import Judge
from model.events import KIND_NAMES
from model.export import export_network
from model.features import NetworkInputs, Vocabulary
from model.index_gate import Indexing, is_wanted, make_index
from model.index_report import IndexReport
from model.item_index import IndexFiles
from model.item_tokens import catalogue_content
from model.items import Item
from model.judging import TrainError, chosen_sources, fitted_weights, judge_of, judged
from model.learning_curve import LearningCurve
from model.log_catalogue import LogCatalogue
from model.log_sources import SourcePlan
from model.network import Network
from model.task_calibration import calibrate_tasks
from model.tasks import served_kind
from model.tower_export import export_tower
from model.trainer import TRAINING_SHARE, Progress, TrainConfig, Trainer
from model.training_report import SearchReport, TrainingReport, command_line

__all__ = [
    "Progress",
    "TrainConfig",
    "TrainError",
    "TrainedNetwork",
    "fitted_weights",
    "judge_of",
    "train",
    "train_bundle",
]

PARITY_USERS = 500
VARIANT_BASKETS = 2_000
"""All graphs are judged on the same ones, so that half a percent between two of them shows."""


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of the epoch that did best on validation."""

    network: Network
    vocabulary: Vocabulary
    validation_ndcg: float
    """Of the network alone, on a sample of the validation baskets."""
    epoch: int
    report: TrainingReport
    whole: Network
    """The same before a task was folded in: with its tower, where it has one."""
    tasks: dict[int, float]
    """The kinds whose answers were learned, and what a basket of each weighed; ``network`` is that
    of the served one."""


def train(
    split: Split,
    config: TrainConfig,
    progress: Progress,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    items: Sequence[Item] = (),
) -> TrainedNetwork:
    """Train a network on ``split.train``, choosing the epoch by ``split.validation``.

    Args:
        split: see ``model.dataset.split_by_time``.
        config: all choices.
        progress: called after every step.
        seed: the same seed, log and number of threads give the same network.
        checkpoint: written after each epoch and removed at the end; where it is there already,
            training goes on from it.
        items: the catalogue, where items are to be known by their content too.

    Raises:
        TrainError: no item of the log occurs often enough, or training has diverged.
        model.checkpoint.CheckpointError: the checkpoint is damaged, or of another run.
    """
    vocabulary = frequent_items(split.train, config.min_count)
    trainer = trainer_of(split, vocabulary, config, seed, items)
    saved = Checkpoint(checkpoint, trainer.fingerprint) if checkpoint else None
    curve = LearningCurve(trainer.network.state_dict())
    if saved and (state := saved.load()):
        trainer.restore(state)
        curve = LearningCurve(**{name: state[name] for name in LearningCurve.__dataclass_fields__})
    begun = time.monotonic() - curve.seconds
    for epoch in range(curve.epoch, config.epochs):
        try:
            loss = trainer.run_epoch(epoch, progress)
        except FloatingPointError as error:
            raise TrainError(str(error)) from None
        curve.add(loss, trainer.validation_ndcg(), trainer.network)
        curve.seconds = time.monotonic() - begun
        if saved:
            saved.save({**trainer.state(), **vars(curve)})
    if saved:
        saved.remove()
    trainer.network.load_state_dict(curve.best)
    return TrainedNetwork(
        trainer.served(), vocabulary, curve.best_ndcg, curve.best_epoch, curve.report(),
        trainer.network, trainer.tasks,
    )  # fmt: skip


def split_of(log: EventLog, config: TrainConfig) -> Split:
    """What is learned from, chosen on and judged on, with baskets of the task that is served.

    Raises:
        TrainError: a part would be empty, or there is no such task.
    """
    try:
        return split_by_time(
            log,
            validation_days=config.validation_days,
            test_days=config.test_days,
            kind=served_kind(log, config.task),
        )
    except ValueError as error:
        raise TrainError(str(error)) from None


def trainer_of(
    split: Split,
    vocabulary: Vocabulary,
    config: TrainConfig,
    seed: int,
    items: Sequence[Item] = (),
) -> Trainer:
    """A training that has not begun.

    Raises:
        TrainError: the settings do not go with each other or with the log, or the catalogue does
            not.
    """
    try:
        content = catalogue_content(items, vocabulary) if items else None
        return Trainer(split, vocabulary, config, seed, content)
    except ValueError as error:
        raise TrainError(str(error)) from None


def train_bundle(
    log: EventLog,
    out: Path,
    config: TrainConfig,
    *,
    seed: int,
    progress: Progress,
    checkpoint: Path | None = None,
    precisions: Sequence[Precision] = (),
    indexing: Indexing = "auto",
    search: SearchReport | None = None,
    items: Sequence[Item] = (),
) -> Manifest:
    """Train, export, fit the blend on validation, judge on the test window, write the bundle.

    Args:
        log: everything; its last days are split off for validation and test.
        out: the bundle's folder.
        config: all choices.
        seed: of the training.
        progress: called often.
        checkpoint: see ``train``.
        precisions: of further graphs, each admitted only if it ranks as well as the full one.
        indexing: whether to make an index of the items, which is admitted only if lists stay as
            good.
        search: how ``config`` was chosen, for the manifest.
        items: the catalogue: the bundle then gets an item tower, which scores what is new.

    Returns:
        The manifest; ``metrics`` holds every contender on both windows.

    Raises:
        TrainError: the log is too short or too thin.
        model.export.ExportError: the exported graph is not the network.
    """
    split = split_of(log, config)
    trained = train(split, config, progress, seed=seed, checkpoint=checkpoint, items=items)
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        progress("exporting", TRAINING_SHARE)
        users = some_users(split.validation, trained.vocabulary, config)
        parity = export_network(trained.network, model, users, config.top_k, states=bool(items))
        tower = Path(folder) / "tower.onnx" if items else None
        if tower:
            export_tower(trained.whole, tower, items, trained.vocabulary)
        cold = cold_positions(tower, items, log, trained.vocabulary) if tower else None
        catalogue = LogCatalogue(log, items) if items else None

        def judge_with(plan: SourcePlan) -> Judge:
            return judge_of(model, trained.vocabulary, log, config, cold=cold, plan=plan)

        progress("choosing the blend and sources on validation baskets", TRAINING_SHARE + 0.05)
        plan, validation, weights, sources = chosen_sources(
            split.validation, catalogue, config, judge_with
        )
        judge = judge_with(plan)
        metrics = judged("validation", split.validation, validation, weights)
        validation_from, test_from = cut_times(log, config.validation_days, config.test_days)
        others = {kind: next_baskets(log, validation_from, test_from, kind)
                  for kind in trained.tasks if kind != split.validation.target_kind}  # fmt: skip
        calibration = calibrate_tasks(judge, validation, others, weights)
        variants: dict[str, VariantReport] = {}
        files: dict[Precision, Path] = {}
        if precisions:
            progress("judging smaller graphs on validation baskets", TRAINING_SHARE + 0.1)
            variants, files = _variants(model, precisions, users, trained.vocabulary,
                                        split.validation, config, weights, cold, plan)  # fmt: skip
        index: tuple[IndexReport, IndexFiles | None] | None = None
        if is_wanted(indexing, len(trained.vocabulary.ids)):
            progress("judging an index of the items on validation baskets", TRAINING_SHARE + 0.12)
            index = _index(
                model, users, trained.vocabulary, split.validation, config, weights, cold, plan
            )
        progress("judging on the test window", TRAINING_SHARE + 0.15)
        metrics |= judged("test", split.test, judge.candidates(split.test), weights)
        manifest = Manifest(
            history_length=config.length,
            top_k=min(config.top_k, len(trained.vocabulary.ids)),
            training_range=_range(split.train),
            seed=seed,
            command=command_line(),
            metrics={name: values.named() for name, values in metrics.items()},
            parity=ParityReport(
                max_difference=parity.max_difference,
                identical_top_20=parity.identical_top_20,
                users=parity.users,
            ),
            repeats_allowed=config.repeats_allowed,
            blend=weights,
            quotas=plan.quotas[0],
            fresh=plan.fresh,
            sources=sources,
            network=_numbers(trained.network, config),
            task=KIND_NAMES[split.validation.target_kind],
            tasks={KIND_NAMES[kind]: weight for kind, weight in trained.tasks.items()},
            calibration=calibration,
            popularity_half_life_days=config.popularity_half_life_days,
            variants=variants,
            index=index[0] if index else UNSET,
            training=trained.report,
            search=UNSET if search is None else search,
        )
        written = write_bundle(
            out, model, trained.vocabulary.ids, manifest, files, index[1] if index else None, tower
        )
    progress(f"bundle {written.version} written", 1.0)
    return written


def frequent_items(log: EventLog, min_count: int) -> Vocabulary:
    """The items that occur at least ``min_count`` times, most frequent first.

    Raises:
        TrainError: there is none.
    """
    counts = np.bincount(log.items, minlength=len(log.item_ids))
    order = np.argsort(-counts, kind="stable")
    ids = [log.item_ids[item] for item in order[counts[order] >= min_count]]
    if not ids:
        raise TrainError(
            f"no item occurs {min_count} times; give a longer log or lower the minimum"
        )
    return Vocabulary(ids)


def some_users(baskets: Baskets, vocabulary: Vocabulary, config: TrainConfig) -> NetworkInputs:
    """What the network reads of some real users, for the comparison of ONNX with torch."""
    some = baskets.spread(PARITY_USERS)
    return some.inputs(
        range(len(some)), vocabulary, config.length, queries=config.queries, who=config.who
    )


def _variants(
    model: Path,
    precisions: Sequence[Precision],
    users: NetworkInputs,
    vocabulary: Vocabulary,
    validation: Baskets,
    config: TrainConfig,
    weights: BlendWeights,
    cold: ColdItems | None,
    plan: SourcePlan,
) -> tuple[dict[str, VariantReport], dict[Precision, Path]]:
    """Smaller graphs, judged by the blended lists that they make for validation baskets."""
    # Only here: converters take seconds to import, and most trainings need none.
    from model.variants import make_variants

    some = validation.spread(VARIANT_BASKETS)

    def quality(graph: Path) -> float:
        judge = judge_of(graph, vocabulary, validation.log, config, cold=cold, plan=plan)
        return judge.candidates(some).metrics(weights).ndcg

    return make_variants(model, precisions, model.parent, users, quality)


def _index(
    model: Path,
    users: NetworkInputs,
    vocabulary: Vocabulary,
    validation: Baskets,
    config: TrainConfig,
    weights: BlendWeights,
    cold: ColdItems | None,
    plan: SourcePlan,
) -> tuple[IndexReport, IndexFiles | None]:
    """An index of the items, judged by the blended lists that it makes for validation baskets."""
    some = validation.spread(VARIANT_BASKETS)

    def quality(index: IndexFiles | None) -> float:
        judge = judge_of(model, vocabulary, validation.log, config, index, cold, plan)
        return judge.candidates(some).metrics(weights).ndcg

    top_k = min(config.top_k, len(vocabulary.ids))
    return make_index(model, model.parent, users, top_k, quality)


def _numbers(network: Network, config: TrainConfig) -> dict[str, int | float]:
    """The configuration of the network and of its training: yes is 1, what is unset is left out."""
    return {
        name: int(value) if isinstance(value, bool) else value
        for name, value in {**asdict(config), **asdict(network.config)}.items()
        if isinstance(value, int | float)
    }


def _range(log: EventLog) -> tuple[str, str]:
    """First and last time of a log, RFC 3339."""
    first, last = (
        datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
        for time in (int(log.times.min()), int(log.times.max()))
    )
    return first.replace("+00:00", "Z"), last.replace("+00:00", "Z")
