"""The search for settings, on a log where only a network that learns can tell what comes next."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from model.bundle import MANIFEST_FILE, load_bundle
from model.dataset import EventLog, Split
from model.search_log import SearchLog, no_searches
from model.setting_search import SearchRequest, search_settings
from model.train import (
    Progress,
    TrainConfig,
    TrainedNetwork,
    TrainError,
    train,
    train_bundle,
)
from model.training_report import SearchReport
from stream.search_table import search_sheet
from tests.planted import ITEMS, at, succession
from tests.test_folds import poisoned

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 3
LOG = succession(users=12, days=20)
TEST_FROM = at(20 - 1 - 2)
FOLDS = 2
HOPELESS = TrainConfig(
    length=8, stride=8, dim=8, blocks=1, heads=1, batch=16, epochs=6, dropout=0.9,
    learning_rate=1e-6, min_count=1, validation_days=2, test_days=2, top_k=ITEMS,
)  # fmt: skip
GRID = {"learning_rate": (1e-6, 0.05), "dropout": (0.0, 0.9)}
FOUND = {"learning_rate": 0.05, "dropout": 0.0}


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The settings of each training that a search makes."""
    made: list[TrainConfig] = []

    def counted(
        split: Split, config: TrainConfig, progress: Progress, *, seed: int
    ) -> TrainedNetwork:
        made.append(config)
        return train(split, config, progress, seed=seed)

    monkeypatch.setattr("model.network_trials.train", counted)
    return made


class Searched(NamedTuple):
    """A search that was left to its end."""

    config: TrainConfig
    report: SearchReport
    journal: list[str]
    told: list[tuple[str, float]]


def search(
    log: EventLog, journal: Path | None = None, **changes: object
) -> tuple[TrainConfig, SearchReport]:
    request = SearchRequest(1e6, FOLDS, journal)
    options: dict[str, object] = {"seed": SEED, "progress": silent, "grid": GRID, **changes}
    return search_settings(log, HOPELESS, request, **options)  # type: ignore[arg-type]


def silent(text: str, share: float) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    path = tmp_path_factory.mktemp("whole") / "new" / "trials.jsonl"
    told: list[tuple[str, float]] = []
    config, report = search(LOG, path, progress=lambda text, share: told.append((text, share)))
    return Searched(config, report, path.read_text().splitlines(keepends=True), told)


def figures(report: SearchReport) -> list[tuple[dict[str, float], list[float]]]:
    """What was tried and found, whatever time it took."""
    return [(trial.settings, trial.ndcg) for trial in report.trials]


def test_settings_that_learn_are_found(whole: Searched) -> None:
    report = whole.report
    assert report.settings == FOUND
    assert whole.config == replace(HOPELESS, learning_rate=0.05, dropout=0.0)
    best, *rest = report.trials
    assert best.settings == FOUND
    assert best.mean > 0.6
    assert max(trial.mean for trial in rest) < 0.5
    assert (len(best.ndcg), report.trials_made, report.finished) == (FOLDS, 4, True)
    assert best.mean == pytest.approx(sum(best.ndcg) / FOLDS, abs=1e-6)
    assert [(fold.since[:10], fold.baskets) for fold in report.folds] == [
        ("2016-07-31", 24), ("2016-08-02", 24),
    ]  # fmt: skip
    # The settings to start from, tried again beside the ones that learn, are dropped at once.
    again = [trial for trial in report.trials if trial.settings == FOUND | {"learning_rate": 1e-6}]
    assert [len(trial.ndcg) for trial in again] == [1]


def test_progress_tells_the_trial_and_the_share_of_the_budget(whole: Searched) -> None:
    assert whole.told[0][0] == "trial 1, fold 1 of 2"
    assert any(text.startswith("trial 2, fold 2 of 2, best so far 0.") for text, _ in whole.told)
    shares = [share for _, share in whole.told]
    assert shares == sorted(shares)
    assert 0 <= shares[-1] < 0.01


def test_it_goes_on_from_its_journal(
    whole: Searched, tmp_path: Path, trainings: list[TrainConfig]
) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(whole.journal[:-2]))
    config, report = search(LOG, path)
    assert len(trainings) == 2
    assert (config, figures(report)) == (whole.config, figures(whole.report))
    assert len(path.read_text().splitlines()) == len(whole.journal)
    search(LOG, path)
    assert len(trainings) == 2


def test_the_test_window_decides_nothing(
    whole: Searched, tmp_path: Path, trainings: list[TrainConfig]
) -> None:
    # The first fold of two trials is remembered, the rest is done again on the poisoned log.
    path = tmp_path / "trials.jsonl"
    path.write_text("".join([whole.journal[0], whole.journal[2]]))
    config, report = search(poisoned(LOG, TEST_FROM), path)
    assert len(trainings) == len(whole.journal) - 2
    assert (config, figures(report)) == (whole.config, figures(whole.report))
    assert report.folds == whole.report.folds


@pytest.mark.parametrize("change", ["log", "searches", "seed", "grid"])
def test_the_journal_of_another_search_is_refused(
    whole: Searched, tmp_path: Path, change: str, trainings: list[TrainConfig]
) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(whole.journal))
    with pytest.raises(TrainError, match="another log, seed, folds or settings; give another"):
        if change == "log":
            search(succession(users=11, days=20), path)
        elif change == "searches":
            search(replace(LOG, searches=one_search(at(3), "milk")), path)
        elif change == "seed":
            search(LOG, path, seed=SEED + 1)
        else:
            search(LOG, path, grid={"dropout": (0.0, 0.9)})
    assert trainings == []
    assert path.read_text() == "".join(whole.journal)


def one_search(time: int, text: str, user: int = 0) -> SearchLog:
    return SearchLog(np.array([user], np.int32), np.array([time]), [text])


@pytest.mark.parametrize(
    ("other", "goes_on"),
    [
        (one_search(at(3), "milk"), True),
        (one_search(at(3), "eggs"), False),
        (one_search(at(4), "milk"), False),
        (one_search(at(3), "milk", user=1), False),
        (no_searches(), False),
    ],
    ids=["the same", "text", "time", "user", "none"],
)
def test_a_journal_is_of_one_log_of_searches(
    tmp_path: Path, other: SearchLog, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.setting_search.NetworkTrials.judge", lambda *_: 0.5)
    path = tmp_path / "trials.jsonl"
    search(replace(LOG, searches=one_search(at(3), "milk")), path)
    with nullcontext() if goes_on else pytest.raises(TrainError, match="give another --journal"):
        search(replace(LOG, searches=other), path)


@pytest.mark.parametrize("kind", ["a folder", "no journal"])
def test_a_file_that_cannot_be_a_journal_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"\x80\x00PAR1\nPAR1")
    with pytest.raises(TrainError, match="give another --journal"):
        search(LOG, path)
    if kind == "no journal":
        assert path.read_bytes() == b"\x80\x00PAR1\nPAR1"


def test_half_lives_cost_no_training(trainings: list[TrainConfig]) -> None:
    grid = {"popularity_half_life_days": (3.0, 14.0), "repeat_half_life_days": (30.0, 60.0)}
    _, report = search(LOG, grid=grid)
    assert report.trials_made == 3
    assert len(trainings) == FOLDS


def test_what_was_given_is_not_searched(trainings: list[TrainConfig]) -> None:
    request = SearchRequest(1e6, 1, fixed=frozenset({"learning_rate", "epochs"}))
    config, report = search_settings(LOG, HOPELESS, request, seed=SEED, progress=silent, grid=GRID)
    assert set(report.settings) == {"dropout"}
    assert {each.learning_rate for each in trainings} == {HOPELESS.learning_rate}
    assert config.learning_rate == HOPELESS.learning_rate


def test_settings_that_make_no_network_are_worth_nothing() -> None:
    grid = {"min_count": (1, 10_000), "stride": (8, 16)}
    request = SearchRequest(1e6, 1)
    config, report = search_settings(LOG, HOPELESS, request, seed=SEED, progress=silent, grid=grid)
    assert config.min_count == 1
    # A stride that is longer than the window is cut to it, and so is no trial of its own.
    assert {trial.settings["stride"] for trial in report.trials} == {8}
    assert [(trial.settings["min_count"], trial.mean > 0) for trial in report.trials] == [
        (1, True), (10_000, False),
    ]  # fmt: skip
    with pytest.raises(TrainError, match="no item occurs 10000 times"):
        search_settings(
            LOG, replace(HOPELESS, min_count=10_000), request, seed=SEED,
            progress=silent, grid=grid,
        )  # fmt: skip


def test_settings_with_which_training_diverges_are_worth_nothing() -> None:
    grid = {"learning_rate": (1e-6, 1e30)}
    request = SearchRequest(1e6, 1)
    config, report = search_settings(LOG, HOPELESS, request, seed=SEED, progress=silent, grid=grid)
    assert config.learning_rate == 1e-6
    assert [(trial.settings["learning_rate"], trial.mean > 0) for trial in report.trials] == [
        (1e-6, True), (1e30, False),
    ]  # fmt: skip


def ticking(step: float) -> Callable[[], float]:
    """A clock that moves on whenever it is looked at."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += step
        return now

    return clock


def test_the_budget_ends_a_training_in_the_middle(
    tmp_path: Path, trainings: list[TrainConfig]
) -> None:
    path = tmp_path / "trials.jsonl"
    request = SearchRequest(1.0, 1, path)
    with pytest.raises(TrainError, match=r"1 minutes were over before .* more --search-minutes"):
        search_settings(LOG, HOPELESS, request, seed=SEED, progress=silent, clock=ticking(10.0))
    assert len(trainings) == 1
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["settings"]["cut"] == 1


def test_a_log_that_is_too_short_for_the_folds_is_told() -> None:
    with pytest.raises(TrainError, match="fewer folds or fewer days"):
        search_settings(LOG, HOPELESS, SearchRequest(1.0, 10), seed=SEED, progress=silent)


def test_the_bundle_says_how_its_settings_were_chosen(whole: Searched, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    manifest = train_bundle(LOG, out, whole.config, seed=SEED, progress=silent, search=whole.report)
    loaded = load_bundle(out).manifest
    assert loaded == manifest
    assert loaded.search == whole.report
    assert loaded.training
    assert loaded.training.seconds > 0
    assert len(loaded.training.curve) == HOPELESS.epochs
    losses = [each.loss for each in loaded.training.curve]
    assert losses[0] is not None and losses[-1] is not None
    assert losses[-1] < losses[0]
    best = max(each.ndcg for each in loaded.training.curve)
    assert loaded.training.curve[loaded.training.epoch - 1].ndcg == best

    train_bundle(LOG, out, replace(HOPELESS, epochs=1), seed=SEED, progress=silent)
    assert not load_bundle(out).manifest.search
    said = msgspec.json.decode((out / MANIFEST_FILE).read_bytes())
    assert "search" not in said


def test_the_table_begins_with_what_was_chosen(whole: Searched) -> None:
    sheet = search_sheet(whole.report)
    assert sheet.title.startswith("4 trials on 2 folds of time in ")
    assert sheet.title.endswith("(nothing gains more); chosen: learning_rate 0.05, dropout 0")
    best = whole.report.trials[0]
    assert sheet.rows[0][:4] == ["chosen", f"{best.mean:.4f}", f"{best.spread:.4f}", "2 of 2"]
    assert {row[0]: row[3] for row in sheet.rows} == {
        "chosen": "2 of 2",
        "dropout 0.9": "2 of 2",
        "learning_rate 1e-06": "1 of 2",
        "dropout 0.9, learning_rate 1e-06": "2 of 2",
    }
    assert all(bool(row[2]) == (row[3] == "2 of 2") for row in sheet.rows)
