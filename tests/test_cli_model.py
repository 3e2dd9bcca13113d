"""``train``, ``export`` and ``evaluate`` on a small shop where everybody has a favourite shelf."""

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, to_builtins

from model import judging, ranked_lists
from model.bundle import load_bundle
from model.cold_items import ColdItems, cold_positions
from model.dataset import split_by_time
from model.events import Purchase, encode_event
from model.fresh_choices import FittedFresh
from model.fresh_score import FreshWeights
from model.items import Item, encode_item
from model.quota_choice import TRIED, ChosenQuotas, choose_quotas
from model.quotas import SourceQuotas
from model.train import TrainConfig, train
from stream.cli_output import BadRows
from stream.event_log import read_event_log
from stream.made_bundle import tell_bundle
from tests.command_line import typed, typed_for_json

DAY_MS = 86_400_000
START = 1_700_006_400_000  # a midnight
DAYS, USERS, SHELVES, WIDTH = 40, 24, 4, 8
OPTIONS = "--epochs", "2", "--min-count", "1", "--validation-days", "5", "--test-days", "5"
CONFIG = TrainConfig(epochs=2, min_count=1, validation_days=5, test_days=5)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each user buys two or three items of one shelf every other day; one row is broken."""
    chance = random.Random(5)
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    lines = []
    for user in range(USERS):
        shelf = user % SHELVES
        for day in range(user % 2, DAYS, 2):
            for item in chance.sample(range(WIDTH), chance.choice((2, 3))):
                event = Purchase(
                    event_id=f"{user}-{day}-{item}",
                    user_id=f"u{user}",
                    ts=START + day * DAY_MS + user * 60_000,
                    item_id=f"s{shelf}-{item}",
                )
                lines.append(encode_event(event))
    path.write_bytes(b"\n".join([*lines, b"{"]))
    return path


def test_train_then_evaluate(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    status, told, errors = typed_for_json(
        monkeypatch, capsys, "train", log, "--out", bundle, *OPTIONS, "--json"
    )
    assert (status, told["bad"]) == (1, 1)
    assert f"{log}:" in errors
    manifest = load_bundle(bundle).manifest
    assert told["version"] == manifest.version
    assert manifest.command.startswith("nextclick train ")
    # A user's shelf holds a fourth of the items: whoever has learned anything finds it.
    assert told["metrics"]["test/blend"]["hit@10"] > 0.9

    status, judged, _ = typed_for_json(
        monkeypatch, capsys, "evaluate", log, "--bundle", bundle, "--json"
    )
    assert (status, judged["bundle"]) == (1, manifest.version)
    metrics = judged["metrics"]
    assert set(metrics) == {
        "popular", "frequent, full history", "frequent, profile history", "counts", "network",
        "blend (what is served)",
    }  # fmt: skip
    for ours, theirs in (("blend (what is served)", "blend"), ("network", "network")):
        expected = told["metrics"][f"test/{theirs}"]
        assert judged["cases"] == expected["baskets"]
        for metric in ("hit@10", "ndcg@10"):
            assert metrics[ours][metric] == pytest.approx(expected[metric], abs=1e-9)
    assert metrics["popular"]["ndcg@10"] < metrics["blend (what is served)"]["ndcg@10"]

    _, table, _ = typed(monkeypatch, capsys, "evaluate", log, "--bundle", bundle)
    assert "next baskets" in table
    assert f"{metrics['network']['ndcg@10']:.4f}" in table


def test_train_and_evaluate_with_a_catalogue(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog, bundle = tmp_path / "catalog.jsonl", tmp_path / "bundle"
    items = [
        Item(item_id=f"s{shelf}-{item}", title=f"shelf {shelf}", category=(f"s{shelf}",))
        for shelf in range(SHELVES)
        for item in range(WIDTH)
    ]
    catalog.write_bytes(b"\n".join(map(encode_item, items)))
    status, told, errors = typed_for_json(
        monkeypatch, capsys, "train", log, "--out", bundle, "--catalog", catalog, *OPTIONS,
        "--min-count", "28", "--no-variants", "--json",
    )  # fmt: skip
    assert status == 1, errors
    loaded = load_bundle(bundle)
    assert loaded.tower_path is not None
    assert len(loaded.vocabulary.ids) < len(items)
    options = "evaluate", log, "--bundle", bundle, "--tune-seconds", "0", "--json"
    scored: list[int] = []

    def watched(*given: Any) -> ColdItems:
        scored.append(len(cold := cold_positions(*given)))
        return cold

    monkeypatch.setattr(ranked_lists, "cold_positions", watched)
    for more in ((), ("--catalog", catalog)):
        _, judged, errors = typed_for_json(monkeypatch, capsys, *options, *more)
        assert judged.get("bundle") == loaded.manifest.version, errors
        assert "network" in judged["metrics"]
    assert scored == [len(items) - len(loaded.vocabulary.ids)]
    # What was judged in training is what is judged of the bundle, sources and all.
    for metric, value in judged["metrics"]["blend (what is served)"].items():
        if metric in told["metrics"]["test/blend"]:
            assert value == pytest.approx(told["metrics"]["test/blend"][metric], abs=1e-9)


def test_quotas_are_chosen_on_validation_and_served(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog, bundle = tmp_path / "catalog.jsonl", tmp_path / "bundle"
    items = [
        Item(item_id=f"s{shelf}-{item}", category=(f"s{shelf}",))
        for shelf in range(SHELVES)
        for item in range(WIDTH)
    ]
    catalog.write_bytes(b"\n".join(map(encode_item, items)))
    weights = FreshWeights(category=0.25, brand=0.5)

    def choice(*asked: Any) -> ChosenQuotas:
        found = choose_quotas(*asked)
        number = TRIED.index(SourceQuotas(in_category=30, fresh=30))
        return found._replace(number=number, quotas=SourceQuotas(in_category=30, fresh=30, new=1))

    def fitted(*asked: Any) -> FittedFresh:
        return FittedFresh(weights, weights, 5, 9, (0.25, 0.5))

    monkeypatch.setattr(judging, "choose_quotas", choice)
    monkeypatch.setattr(judging, "fresh_weights_of", fitted)
    _, told, errors = typed_for_json(
        monkeypatch, capsys, "train", log, "--out", bundle, "--catalog", catalog, *OPTIONS,
        "--no-variants", "--json",
    )  # fmt: skip
    manifest = load_bundle(bundle).manifest
    assert manifest.quotas == SourceQuotas(in_category=30, fresh=30, new=1), errors
    assert manifest.fresh == weights
    assert manifest.sources is not UNSET
    assert told["sources"] == to_builtins(manifest.sources)
    assert (manifest.sources.fresh_baskets, manifest.sources.fresh_taken) == (5, 9)
    assert manifest.sources.fresh_recall == 0.5
    assert manifest.sources.fresh_recall_by_default == 0.25
    assert len(manifest.sources.trials) == len(TRIED)
    tell_bundle(manifest, bundle, BadRows(), as_json=False)
    assert "sources: in_category=30, fresh=30, new=1" in capsys.readouterr().out


def test_train_tells_what_became_of_the_index(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", log, "--out", tmp_path / "bundle", *OPTIONS, "--no-variants"]
    _, told, _ = typed_for_json(monkeypatch, capsys, *command, "--index", "always", "--json")
    index = load_bundle(tmp_path / "bundle").manifest.index
    assert index is not UNSET
    assert told["index"] == to_builtins(index)

    _, said, _ = typed(monkeypatch, capsys, *command, "--index", "always")
    kept = "kept" if index.admitted else "refused"
    assert f"index of the items {kept}: " in said

    _, told, _ = typed_for_json(monkeypatch, capsys, *command, "--json")
    assert "index" not in told, "so few items get none unasked"
    assert load_bundle(tmp_path / "bundle").manifest.index is UNSET


def test_days_that_were_learned_from_are_not_judged(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    typed_for_json(monkeypatch, capsys, "train", log, "--out", bundle, *OPTIONS, "--json")
    arguments = "evaluate", log, "--bundle", bundle, "--since"
    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, "2023-11-20")
    assert status == 2
    assert "nextclick: the bundle has learned from events up to 2023-12-" in errors
    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, "2024-06-01")
    assert status == 2
    assert "nextclick: there is no basket to predict from 2024-06-01 on" in errors


def test_export_of_a_training_that_was_cut_off(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = read_event_log([log], lambda bad: None)
    split = split_by_time(columns, validation_days=5, test_days=5)
    checkpoint = tmp_path / "run.pt"

    def cut_off(text: str, share: float) -> None:
        if "epoch 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(split, CONFIG, cut_off, seed=3, checkpoint=checkpoint)
    saved = checkpoint.read_bytes()
    arguments = "export", log, "--checkpoint", checkpoint, "--out", tmp_path / "b", *OPTIONS
    status, told, _ = typed_for_json(monkeypatch, capsys, *arguments, "--seed", "3", "--json")
    assert (status, told["bad"]) == (1, 1)
    assert load_bundle(tmp_path / "b").manifest.version == told["version"]
    assert checkpoint.read_bytes() == saved

    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, "--seed", "4")
    assert status == 2
    assert "is of a run with another log, seed or settings" in errors


def test_export_without_a_checkpoint(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "export", log, "--checkpoint", tmp_path / "no.pt", "--out", tmp_path / "b"
    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, *OPTIONS)
    assert status == 2
    assert f"nextclick: there is no checkpoint {tmp_path / 'no.pt'}" in errors
    assert not (tmp_path / "b").exists()


def test_a_log_that_is_too_short_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(encode_event(Purchase(event_id="e", user_id="u", ts=START, item_id="i")))
    status, _, errors = typed_for_json(monkeypatch, capsys, "train", path, "--out", tmp_path / "b")
    assert status == 2
    assert "nextclick: nothing to train on" in errors
