"""The benchmark of real time end to end, on folders in public layouts with a planted pattern."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import prequential
from tests.test_quality import diginetica, write

SHELF, SHELVES = 12, 5
"""Items that follow each other within a shelf, and shelves that nobody foresees."""


def beauty(folder: Path) -> None:
    """Everyone walks along a shelf from some item on, after a while on another shelf."""
    chance = np.random.default_rng(3)
    rows = []
    for user in range(60):
        row = []
        for _ in range(2):
            shelf, begun = chance.integers(SHELVES), chance.integers(SHELF - 6)
            row += [f"{shelf}-{begun + step}" for step in range(6)]
        rows.append(f"user-{user} {' '.join(row[: 6 + user % 6])}")
    write(folder / "my_sequences.txt", rows)


def online_retail(folder: Path) -> None:
    """Each customer comes every third day, buys at three moments of one hour or of three, and
    every moment says what the next one is."""
    chance = np.random.default_rng(5)
    rows = []
    for user in range(12):
        apart = 15 if user % 2 else 70
        for day in range(user % 3, 100, 3):
            begun = np.datetime64("2011-01-01T10:05") + np.timedelta64(day, "D")
            shelf = chance.integers(SHELVES)
            for step in range(3):
                time = begun + np.timedelta64(step * apart, "m")
                rows.append((user, f"{shelf}-{step}", 1, time))
    names = ("CustomerID", "Description", "Quantity", "InvoiceDate")
    columns: dict[str, Any] = {
        name: [row[place] for row in rows] for place, name in enumerate(names)
    }
    columns["InvoiceDate"] = np.array(columns["InvoiceDate"]).astype("datetime64[ms]")
    pq.write_table(pa.table(columns), folder / "own.parquet")


def run(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    asked = ["--dataset", name, "--data", str(folder), "--tune-seconds", "0", "--json", *more]
    prequential.main(asked)
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_an_order_is_frozen_events_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beauty(tmp_path)
    report = run("beauty", tmp_path, capsys)
    older = report["profile_as_of"]
    assert list(older) == ["1 event ago", "3 events ago", "10 events ago"]
    assert report["cases"] == report["users"] == 60
    for each in older.values():
        assert each["share_changed"] == 1.0
        for worth in each["everywhere"].values():
            assert worth["gain"]["mean"] == pytest.approx(worth["live"] - worth["frozen"])
    ndcg = [each["everywhere"]["ndcg@10"]["frozen"] for each in older.values()]
    assert report["live"]["ndcg@10"] > ndcg[0] > ndcg[1] > ndcg[2]
    assert older["10 events ago"]["everywhere"]["ndcg@10"]["gain"]["low"] > 0.2


def test_a_session_begins_with_an_empty_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diginetica(tmp_path)
    older = run("diginetica", tmp_path, capsys)["profile_as_of"]
    begun, ago = older["the session began"], older["1 event ago"]
    # Of the four clicks of a session, the first one has no history either way.
    assert begun["share_changed"] == ago["share_changed"] == 0.75
    assert begun["where_changed"]["hit@10"]["live"] == 1.0
    assert begun["where_changed"]["hit@10"]["frozen"] < 0.9
    # A session of so few clicks is not longer than ten.
    assert older["10 events ago"] == begun


def test_times_are_frozen_by_the_hour_and_the_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    online_retail(tmp_path)
    report = run("online_retail", tmp_path, capsys)
    hour, day = (report["profile_as_of"][f"the {name} began"] for name in ("hour", "day"))
    # Two of three moments have an earlier one on their day, half of those in their hour.
    assert day["share_changed"] == pytest.approx(2 / 3)
    assert hour["share_changed"] == pytest.approx(1 / 3)
    for each in (hour, day):
        assert each["where_changed"]["ndcg@10"]["gain"]["low"] > 0.1
    assert day["everywhere"]["ndcg@10"]["live"] == report["live"]["ndcg@10"]


def test_the_test_days_are_not_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    online_retail(tmp_path)
    before = run("online_retail", tmp_path, capsys)
    (path,) = tmp_path.glob("*.parquet")
    table = pq.read_table(path)
    names = np.array(table["Description"].to_pylist())
    late = table["InvoiceDate"].to_numpy() >= table["InvoiceDate"].to_numpy().max() - (
        np.timedelta64(27, "D")
    )
    names[late] = names[late][::-1]
    pq.write_table(table.set_column(1, "Description", pa.array(names)), path)
    after = run("online_retail", tmp_path, capsys)
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


def test_a_missing_folder_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prequential.main(["--dataset", "ml1m"])
    assert "needs --data FOLDER" in capsys.readouterr().err
