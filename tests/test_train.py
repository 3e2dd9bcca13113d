"""Training on a log whose pattern is known: who has learned it predicts all of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import UNSET

from model.baselines import MostPopular
from model.bundle import digest_of, load_bundle
from model.checkpoint import Checkpoint, CheckpointError
from model.cold_items import cold_positions
from model.dataset import EventLog, Split, split_by_time
from model.item_index import ItemIndex
from model.items import Item
from model.search_log import SearchLog
from model.top_metrics import rank_metrics
from model.train import (
    TrainConfig,
    TrainedNetwork,
    TrainError,
    judge_of,
    split_of,
    train,
    train_bundle,
    trainer_of,
)
from tests.planted import ITEMS, at, log_of, succession

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(
    length=10,
    stride=10,
    dim=16,
    blocks=1,
    batch=8,
    epochs=12,
    learning_rate=0.02,
    min_count=1,
    validation_days=4,
    test_days=3,
    top_k=ITEMS,
)


def silent(text: str, share: float) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def split() -> Split:
    return split_by_time(succession(), validation_days=4, test_days=3)


def weights_of(trained: TrainedNetwork) -> dict[str, torch.Tensor]:
    return dict(trained.network.state_dict())


def same(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    theirs = weights_of(other)
    return all(torch.equal(value, theirs[name]) for name, value in weights_of(one).items())


def test_a_bundle_of_a_network_that_has_found_the_pattern(tmp_path: Path) -> None:
    log = succession()
    told: list[tuple[str, float]] = []
    manifest = train_bundle(
        log,
        tmp_path / "bundle",
        CONFIG,
        seed=1,
        progress=lambda text, share: told.append((text, share)),
    )
    metrics = manifest.metrics
    assert metrics["test/network"]["ndcg@10"] > 0.95
    assert metrics["test/blend"]["ndcg@10"] > 0.95
    # Neither popularity nor habit can know what comes next in this log.
    for count in ("popular", "frequent, full history", "frequent, profile history"):
        assert metrics[f"test/{count}"]["ndcg@10"] < 0.6
    assert metrics["test/blend"]["baskets"] == 30 * 4
    assert manifest.blend.network > 0

    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest == manifest
    assert sorted(loaded.vocabulary.ids) == sorted(log.item_ids)
    assert manifest.parity.identical_top_20 == 1.0
    assert manifest.training_range[1] < "2016-08-21"
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_smaller_graphs_are_judged_on_validation_and_stand_in_the_manifest(tmp_path: Path) -> None:
    manifest = train_bundle(
        succession(), tmp_path / "bundle", CONFIG, seed=1, progress=silent,
        precisions=("fp16", "int8"),
    )  # fmt: skip
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest == manifest
    assert set(manifest.variants) == {"fp32", "fp16", "int8"}
    assert manifest.variants["fp32"].ndcg == manifest.metrics["validation/blend"]["ndcg@10"]
    # What has found the pattern keeps it in half precision: the scores lie far apart.
    assert manifest.variants["fp16"].admitted
    half = loaded.graph("fp16")
    assert digest_of(half) == manifest.variants["fp16"].sha256 == manifest.files[half.name]
    for report in manifest.variants.values():
        assert (report.ndcg_lost <= 0.005) == report.admitted


def test_an_index_is_judged_on_validation_and_stands_in_the_bundle(tmp_path: Path) -> None:
    manifest = train_bundle(
        succession(), tmp_path / "bundle", CONFIG, seed=1, progress=silent, indexing="always"
    )
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest == manifest
    report = manifest.index
    assert report is not UNSET
    # Of so few items all lists are read: the lists that are judged are those of the full graph.
    assert (report.recall, report.ndcg_lost, report.admitted) == (1.0, 0.0, True)
    assert report.ndcg == manifest.metrics["validation/blend"]["ndcg@10"]
    assert ItemIndex.read(loaded.index_files(), threads=1).lists == report.lists


def test_the_baselines_in_the_manifest_are_those_of_the_test_window(tmp_path: Path) -> None:
    log = succession()
    manifest = train_bundle(
        log, tmp_path / "bundle", replace(CONFIG, epochs=1), seed=1, progress=silent
    )
    test = split_by_time(log, validation_days=4, test_days=3).test
    found = rank_metrics(MostPopular(log).rank(test), test.target_sets()).named()
    assert manifest.metrics["test/popular"] == found


def test_a_seed_decides_the_network(split: Split) -> None:
    config = replace(CONFIG, epochs=1)
    one = train(split, config, silent, seed=1)
    assert same(one, train(split, config, silent, seed=1))
    assert not same(one, train(split, config, silent, seed=2))


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(
    split: Split, tmp_path: Path
) -> None:
    config = replace(CONFIG, epochs=3)
    whole = train(split, config, silent, seed=5)
    checkpoint = tmp_path / "run" / "checkpoint.pt"

    def cut_off(text: str, share: float) -> None:
        if "epoch 3" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(split, config, cut_off, seed=5, checkpoint=checkpoint)
    seen: list[str] = []
    resumed = train(
        split, config, lambda text, share: seen.append(text), seed=5, checkpoint=checkpoint
    )
    assert all("epoch 3 of 3" in text for text in seen)
    assert same(whole, resumed)
    assert resumed.validation_ndcg == whole.validation_ndcg
    assert len(whole.report.curve) == 3
    assert resumed.report.curve == whole.report.curve
    assert resumed.report.epoch == whole.report.epoch == whole.epoch
    assert not checkpoint.exists()


@pytest.mark.parametrize("change", [{"seed": 6}, {"epochs": 4}, {"dim": 8}, {"searches": 1}])
def test_the_checkpoint_of_another_run_is_refused(
    split: Split, tmp_path: Path, change: dict[str, int]
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def cut_off(text: str, share: float) -> None:
        if "epoch 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(split, replace(CONFIG, epochs=2), cut_off, seed=5, checkpoint=checkpoint)
    if change.pop("searches", 0):
        asked = SearchLog(np.zeros(1, np.int32), np.array([at(0)]), ["milk"])
        split = replace(split, train=replace(split.train, searches=asked))
    seed = change.pop("seed", 5)
    config = replace(CONFIG, **{"epochs": 2, **change})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="another log, seed or settings; remove it"):
        train(split, config, silent, seed=seed, checkpoint=checkpoint)


class Harmful:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harm"),))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["cut short", "no checkpoint", "code"])
def test_a_checkpoint_that_is_none_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.pt"
    checkpoint = Checkpoint(path, "run")
    assert checkpoint.load() is None
    checkpoint.save({"step": 3, "network": {"weight": torch.ones(100)}})
    state = checkpoint.load()
    assert state is not None and state["step"] == 3
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "no checkpoint":
        path.write_bytes(b"")
    else:
        torch.save({"fingerprint": "run", "harm": Harmful()}, path)
    with pytest.raises(
        CheckpointError, match=r"cannot be read .*remove it to train from the start"
    ):
        checkpoint.load()
    assert not Path("harm").exists()


def test_the_best_epoch_on_validation_is_kept(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([0.2, 0.9, 0.1])
    monkeypatch.setattr("model.trainer.Trainer.validation_ndcg", lambda self: next(figures))
    trained = train(split, replace(CONFIG, epochs=3), silent, seed=5)
    assert (trained.epoch, trained.validation_ndcg) == (2, 0.9)


@pytest.mark.parametrize(
    ("days", "config", "sentence"),
    [
        (6, CONFIG, "nothing to train on.*give a longer log or fewer days"),
        (40, replace(CONFIG, min_count=1000), "no item occurs 1000 times; give a longer log or"),
    ],
)
def test_a_log_that_is_too_thin_is_refused(
    tmp_path: Path, days: int, config: TrainConfig, sentence: str
) -> None:
    with pytest.raises(TrainError, match=sentence):
        train_bundle(succession(days=days), tmp_path / "bundle", config, seed=1, progress=silent)
    assert not (tmp_path / "bundle").exists()


def test_a_log_in_which_nothing_ever_returns_is_refused(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"{user}-{day}", at(day)) for user in range(4) for day in range(20)]
    with pytest.raises(TrainError, match="nothing that was bought is among the candidates"):
        train_bundle(
            log_of(rows), tmp_path / "b", replace(CONFIG, epochs=1), seed=1, progress=silent
        )


def test_a_training_that_diverges_ends_at_once(split: Split, tmp_path: Path) -> None:
    told: list[str] = []
    config = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(TrainError, match="training has diverged; give a lower learning rate"):
        train(
            split, config, lambda text, share: told.append(text), seed=5,
            checkpoint=tmp_path / "checkpoint.pt",
        )  # fmt: skip
    assert all("epoch 1 of 12" in text for text in told)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_rare_items_are_unknown_to_the_network(split: Split) -> None:
    rows = [(f"u{u}", f"item-{(u + d) % 5}", at(d)) for u in range(9) for d in range(20)]
    log = log_of([*rows, ("u0", "rare", at(3.5))])
    small = split_by_time(log, validation_days=4, test_days=3)
    trained = train(small, replace(CONFIG, epochs=1, min_count=2), silent, seed=0)
    assert sorted(trained.vocabulary.ids) == [f"item-{n}" for n in range(5)]
    assert np.isfinite(trained.network.item_bias.detach().numpy()).all()


def shelves(users: int = 30, days: int = 40, width: int = 6) -> tuple[EventLog, list[Item]]:
    """Everyone buys an item a day, of shelf n today and of shelf n + 1 tomorrow, any item of it.

    A last item of each shelf is sold in the test days alone, and only its words tell its shelf.
    """
    chance = np.random.default_rng(3)
    names = ("tea", "mug", "bag", "cup")
    rows = []
    for user in range(users):
        for day in range(days):
            is_new = day >= days - 3 and (user + day) % 5 == 0
            item = width if is_new else int(chance.integers(width))
            shelf = names[(user + day) % len(names)]
            rows.append((f"user-{user}", f"{shelf}-{item}", at(day + 0.4 + user / 1000)))
    items = [
        Item(item_id=f"{name}-{number}", title=f"{name} no{number % 3}")
        for name in names
        for number in range(width + 1)
    ]
    return log_of(rows), items


def test_an_item_that_was_never_sold_is_found_by_its_words(tmp_path: Path) -> None:
    log, items = shelves()
    manifest = train_bundle(log, tmp_path / "bundle", CONFIG, seed=1, progress=silent, items=items)
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest == manifest
    assert loaded.tower_path is not None
    new = [item for item in items if item.item_id not in loaded.vocabulary.ids]
    assert len(new) == 4
    cold = cold_positions(loaded.tower_path, items, log, loaded.vocabulary)
    judge = judge_of(loaded.model_path, loaded.vocabulary, log, CONFIG, cold=cold)
    baskets = split_of(log, CONFIG).test
    nearest = cold.nearest(judge.states(baskets), lambda rows: rows >= 0)
    first = [log.item_ids[row].split("-")[0] for row in nearest.rows[:, 0].tolist()]
    bought = [log.item_ids[min(each)].split("-")[0] for each in baskets.target_sets()]
    # Of four shelves, one is right.
    assert np.mean([one == other for one, other in zip(first, bought, strict=True)]) > 0.85


def test_training_with_a_catalogue_goes_on_from_a_checkpoint_of_the_same_one(
    tmp_path: Path,
) -> None:
    log, items = shelves()
    split = split_of(log, CONFIG)
    whole = train(split, CONFIG, silent, items=items)
    vocabulary = whole.vocabulary
    trainers = (trainer_of(split, vocabulary, CONFIG, 0, some) for some in (items, items[:9], []))
    fingerprints = {each.fingerprint for each in trainers}
    assert len(fingerprints) == 3
    assert same(whole, train(split, CONFIG, silent, items=items))


def test_a_catalogue_of_another_shop_is_refused() -> None:
    log, _ = shelves()
    with pytest.raises(TrainError, match="give the catalogue of the log"):
        train(split_of(log, CONFIG), CONFIG, silent, items=[Item(item_id="x", title="wall")])
