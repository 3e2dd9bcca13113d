"""``train --search-minutes``: what is asked of the search, and how it is told."""

from pathlib import Path

import pytest
from msgspec import to_builtins

from model.bundle import load_bundle
from model.dataset import EventLog
from model.events import Purchase, encode_event
from model.setting_search import SearchRequest
from model.train import TrainConfig
from model.training_report import FoldReport, SearchReport, TrialReport
from tests.command_line import typed, typed_for_json
from tests.planted import succession
from tests.test_folds import rows_of

FOUND = SearchReport(
    settings={"dim": 8},
    trials=[
        TrialReport(settings={"dim": 8}, ndcg=[0.5, 0.75], mean=0.625, spread=0.1768, seconds=9),
        TrialReport(settings={"dim": 4}, ndcg=[0.25], mean=0.375, spread=None, seconds=3),
    ],
    trials_made=2,
    folds=[
        FoldReport(since="2016-07-31T00:00:00Z", until="2016-08-02T00:00:00Z", baskets=24),
        FoldReport(since="2016-08-02T00:00:00Z", until="2016-08-04T00:00:00Z", baskets=24),
    ],
    minutes=7,
    seconds=12,
    finished=True,
    seed=5,
    command="nextclick train",
)
DAYS = "--validation-days", "2", "--test-days", "2"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file of purchases of one item a day."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b"\n".join(
            encode_event(Purchase(event_id=f"{user}-{ts}", user_id=user, ts=ts, item_id=item))
            for user, item, ts in rows_of(succession(users=12, days=20))
        )
    )
    return path


def test_train_with_what_the_search_found(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[int, TrainConfig, SearchRequest, int]] = []

    def search_settings(
        log: EventLog, config: TrainConfig, request: SearchRequest, *, seed: int, progress: object
    ) -> tuple[TrainConfig, SearchReport]:
        asked.append((len(log), config, request, seed))
        found = TrainConfig(
            length=8, stride=8, dim=8, blocks=1, heads=1, epochs=1, min_count=1,
            validation_days=2, test_days=2,
        )  # fmt: skip
        return found, FOUND

    monkeypatch.setattr("model.setting_search.search_settings", search_settings)
    journal = tmp_path / "trials.jsonl"
    command = (
        "train", log, "--out", tmp_path / "bundle", *DAYS, "--epochs", "1", "--seed", "5",
        "--no-variants", "--search-minutes", "7", "--search-folds", "2", "--journal", journal,
    )  # fmt: skip
    status, table, _ = typed(monkeypatch, capsys, *command)
    assert status == 0
    assert "2 trials on 2 folds of time" in " ".join(table.split())
    assert "dim 4" in table
    assert "0.6250" in table

    status, told, _ = typed_for_json(monkeypatch, capsys, *command, "--json")
    assert status == 0
    assert told["search"] == to_builtins(FOUND)
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.search == FOUND
    assert manifest.network["dim"] == 8
    expected = (
        12 * 20,
        TrainConfig(epochs=1, validation_days=2, test_days=2),
        SearchRequest(7.0, 2, journal, frozenset({"epochs"})),
        5,
    )
    assert asked == [expected, expected]


def test_a_search_that_cannot_be_is_told(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "train", log, "--out", tmp_path / "bundle"
    status, _, err = typed(monkeypatch, capsys, *asked, "--search-minutes", "1")
    assert status == 2
    told = " ".join(err.split())
    assert "nextclick: 3 folds of 14 days before a test of 13 are more than the log has" in told
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--journal", "trials.jsonl"], "say --search-minutes too"),
        (["--search-folds", "3"], "say --search-minutes too"),
        (["--search-minutes", "1", "--checkpoint", "run.pt"], "give --journal too"),
        (["--search-minutes", "0"], "must be more than 0"),
        (["--search-minutes", "1", "--search-folds", "0"], "search-folds"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    log: Path,
    options: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _, err = typed(monkeypatch, capsys, "train", log, *options)
    assert status == 2
    assert sentence in " ".join(err.replace("│", " ").split())
