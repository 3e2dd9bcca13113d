"""A bundle of several tasks, and one of a network that reads queries: down to what is on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import UNSET

from model.bundle import MANIFEST_FILE, load_bundle
from model.dataset import next_baskets
from model.evaluate import Judge
from model.platt import Platt
from model.task_calibration import judge_tasks
from model.train import TrainConfig, TrainError, train_bundle
from tests.planted import ITEMS, at, search_shop, succession, window_shopping

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(
    length=10, stride=10, dim=16, blocks=1, batch=8, epochs=4, learning_rate=0.02, min_count=1,
    validation_days=4, test_days=3, top_k=ITEMS,
)  # fmt: skip


def silent(text: str, share: float) -> None:
    """Progress that nobody watches."""


def test_a_bundle_serves_one_task_and_tells_the_probability_of_each(tmp_path: Path) -> None:
    log, path = window_shopping(), tmp_path / "bundle"
    manifest = train_bundle(log, path, replace(CONFIG, epochs=8), seed=1, progress=silent)
    assert load_bundle(path).manifest == manifest
    assert manifest.task == "purchase"
    # Three clicks to a purchase.
    assert manifest.tasks == pytest.approx({"click": 3**-0.5, "purchase": 1.0}, rel=0.1)
    assert manifest.metrics["test/network"]["ndcg@10"] > 0.9
    bought, clicked = manifest.calibration["purchase"], manifest.calibration["click"]
    # The first of a list of purchases is what is bought; a click may be on any of it.
    assert bought.a > 2 * abs(clicked.a)
    for each, error in ((bought, 0.05), (clicked, 0.12)):
        assert each.users > 20
        assert each.listed > 300
        assert each.taken == pytest.approx(1 / ITEMS, rel=0.35)
        assert each.ece_after < error < each.ece_before
    # What the manifest says is true of days that nothing was chosen on.
    judge = _judge(path, manifest.history_length, log)
    told = judge_tasks(judge, log, at(37), manifest.calibration, manifest.blend)
    assert set(told) == {"click", "purchase"}
    assert told["purchase"].ece < 0.06
    table = judge.candidates(next_baskets(log, at(37), at(40)))
    listed = table.listed(manifest.blend, len(table.baskets))
    probability = bought.platt.probability(listed.scores)
    assert probability.mean() == pytest.approx(listed.taken.mean(), abs=0.02)
    assert told["purchase"].listed == len(probability)
    assert told["purchase"].predicted == pytest.approx(probability.mean())
    assert told["purchase"].taken == pytest.approx(listed.taken.mean())
    assert probability[listed.taken].mean() > 0.5 > 0.1 > probability[~listed.taken].mean()
    bare = Platt(1.0, 0.0).probability(listed.scores)
    assert abs(bare.mean() - listed.taken.mean()) > 0.08


def _judge(path: Path, length: int, log: object) -> Judge:
    bundle = load_bundle(path)
    return Judge(
        bundle.model_path, bundle.vocabulary, log, length=length,  # type: ignore[arg-type]
        popularity_half_life_days=14, repeat_half_life_days=60,
    )  # fmt: skip


def test_the_task_that_is_named_is_the_one_that_is_judged(tmp_path: Path) -> None:
    config = replace(CONFIG, task="click", task_weights=(("purchase", 0.0),))
    manifest = train_bundle(window_shopping(), tmp_path / "bundle", config, seed=1, progress=silent)
    assert (manifest.task, manifest.tasks) == ("click", {"click": 1.0})
    assert list(manifest.calibration) == ["click"]
    assert manifest.metrics["test/network"]["ndcg@10"] > 0.9


def test_a_log_of_one_kind_has_one_task_and_older_manifests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    manifest = train_bundle(succession(), path, replace(CONFIG, epochs=1), seed=1, progress=silent)
    assert (manifest.task, manifest.tasks) == ("purchase", {"purchase": 1.0})
    assert list(manifest.calibration) == ["purchase"]
    file = path / MANIFEST_FILE
    older = json.loads(file.read_text())
    for name in ("task", "tasks", "calibration"):
        del older[name]
    file.write_text(json.dumps(older))
    read = load_bundle(path).manifest
    assert (read.task, read.tasks, read.calibration) == (UNSET, {}, {})


def test_a_bundle_whose_network_reads_queries(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    config = replace(CONFIG, queries=True, learning_rate=0.03, epochs=6)
    manifest = train_bundle(
        search_shop(), path, config, seed=1, progress=silent, precisions=("fp16",)
    )
    assert manifest.parity.identical_top_20 == 1.0
    assert manifest.network["queries"] == 1
    assert manifest.variants["fp16"].admitted
    # One in twelve clicks is on the item that is looked at, which no list holds.
    assert manifest.metrics["test/network"]["ndcg@10"] > 0.85
    assert manifest.metrics["test/blend"]["ndcg@10"] > 0.85
    for count in ("popular", "frequent, full history"):
        assert manifest.metrics[f"test/{count}"]["ndcg@10"] < 0.6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": "cart"}, "the log holds no cart, only purchase; name one of these"),
        ({"task": "view"}, "there is no task 'view'"),
        ({"queries": True}, "holds no search to learn from"),
        ({"task_weights": (("click", -1.0),)}, "task click weighs -1"),
        ({"stride": 11}, "the stride 11 is longer than the window"),
    ],
)
def test_settings_that_do_not_go_with_the_log_are_told(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    config = replace(CONFIG, **change)  # type: ignore[arg-type]
    with pytest.raises(TrainError, match=sentence):
        train_bundle(succession(), tmp_path / "bundle", config, seed=1, progress=silent)
