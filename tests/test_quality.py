"""The quality benchmark end to end, on folders in the public layouts with a planted pattern."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.quality import main
from benchmarks.quality_data import DATASETS, one_file
from benchmarks.quality_methods import LeftOut, contenders
from model.popularity import Popularity
from tests.sequence_shop import ITEMS


def lines(count: int, length: int) -> list[list[int]]:
    return [[(user + step) % ITEMS for step in range(length)] for user in range(count)]


def joined(rows: list[list[int]]) -> list[str]:
    return [" ".join(map(str, row)) for row in rows]


def write(path: Path, rows: list[str]) -> None:
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")


def beauty(folder: Path) -> None:
    owned = [f"user-{number} {row}" for number, row in enumerate(joined(lines(40, 9)))]
    write(folder / "my_sequences.txt", owned)


def ml1m(folder: Path) -> None:
    rows = lines(40, 9)
    write(folder / "test_input.txt", joined([row[:-1] for row in rows]))
    write(folder / "test_output.txt", joined([row[-1:] for row in rows]))


def diginetica(folder: Path) -> None:
    write(folder / "train_sessions.txt", joined(lines(60, 4)))
    write(folder / "test_prefix_target.txt", [f"{n} {n + 1}\t{n + 2}" for n in range(9)])


def recbole(folder: Path) -> None:
    rows = [
        f"{user}\t{item}\t{place}"
        for user, row in enumerate(lines(40, 9))
        for place, item in enumerate(row)
    ]
    write(folder / "own.inter", ["user_id:token\titem_id:token\ttimestamp:float", *rows])


def online_retail(folder: Path) -> None:
    """Everyone buys an item of their own every week, and another one once."""
    rows = [
        (user, f"item {user % ITEMS}", 1, np.datetime64("2011-01-01T10:00") + 7 * week)
        for user in range(24)
        for week in np.arange(20).astype("timedelta64[D]")
    ]
    rows += [
        (user, f"item {(user + 1) % ITEMS}", 1, np.datetime64("2011-01-02T10:00") + day)
        for user in range(24)
        for day in (np.arange(133)[user * 5 :: 133]).astype("timedelta64[D]")
    ]
    names = ("CustomerID", "Description", "Quantity", "InvoiceDate")
    columns: dict[str, Any] = {
        name: [row[place] for row in rows] for place, name in enumerate(names)
    }
    columns["InvoiceDate"] = np.array(columns["InvoiceDate"]).astype("datetime64[ms]")
    pq.write_table(pa.table(columns), folder / "own.parquet")


def run(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    main(["--dataset", name, "--data", str(folder), "--minutes", "0.002", "--json", *more])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize("make", [beauty, ml1m, recbole])
def test_leave_one_out_has_a_row_for_the_validation_item(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)
    report = run(make.__name__, tmp_path, capsys, "--test", "--methods", "popularity", "counts")
    assert report["methods"].keys() == {"popularity", "counts"}
    counts = report["methods"]["counts"]
    assert counts.keys() == {"train_part_only", "validation_item_learned"}
    for row in counts.values():
        assert row["validation"]["NDCG@10"] == row["test"]["NDCG@10"] == 1.0
        assert row["settings"]["gap_decay"] > 0
    assert report["cases"]["train_part_only"] == {"validation": 40, "test": 40}
    assert report["cleaning"]["kept"] == 360
    assert report["unit"] == "share"


def test_sessions_are_in_percent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diginetica(tmp_path)
    asked = ("popularity", "item_knn", "sequence_knn", "counts", "blend")
    report = run("diginetica", tmp_path, capsys, "--test", "--methods", *asked)
    assert report["methods"].keys() == set(asked)
    for name in ("item_knn", "sequence_knn", "counts", "blend"):
        assert report["methods"][name]["all_items"]["test"]["P@20"] == 100.0
    assert report["unit"] == "percent"


def test_every_method_takes_part_or_says_why_not(tmp_path: Path) -> None:
    diginetica(tmp_path)
    each = list(contenders("diginetica", DATASETS["diginetica"](tmp_path), tmp_path))
    assert {one.name for one in each} == {
        *("popularity", "item_knn", "ease", "als", "sequence_knn", "counts"),
        *("counts_short", "counts_twice", "content", "content_then_counts", "network", "blend"),
        "reranked",
    }
    left_out = {one.name: one.reason for one in each if isinstance(one, LeftOut)}
    assert "content" in left_out
    assert all(left_out.values())


def test_baskets_have_habits_and_a_row_of_unseen_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    online_retail(tmp_path)
    report = run("online_retail", tmp_path, capsys, "--test", "--methods", "habits", "popularity")
    assert report["methods"]["habits"].keys() == {"all_items"}
    assert report["methods"]["habits"]["all_items"]["test"]["Hit@10"] > 0.9
    assert report["methods"]["popularity"].keys() == {"all_items", "unseen_items_only"}


def test_the_test_is_judged_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beauty(tmp_path)
    report = run("beauty", tmp_path, capsys, "--methods", "popularity")
    for row in report["methods"]["popularity"].values():
        assert "validation" in row
        assert "test" not in row


def test_a_folder_without_the_file_or_with_two_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.txt"):
        one_file(tmp_path, "*.txt")
    write(tmp_path / "a.txt", [])
    assert one_file(tmp_path, "b.txt", "*.txt").name == "a.txt"
    write(tmp_path / "c.txt", [])
    with pytest.raises(ValueError, match=r"several of \*\.txt: a\.txt, c\.txt"):
        one_file(tmp_path, "*.txt")


def test_the_blend_is_of_the_others_with_weights_for_each_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    online_retail(tmp_path)
    asked = ("habits", "popularity", "blend")
    report = run("online_retail", tmp_path, capsys, "--test", "--methods", *asked)
    rows = report["methods"]["blend"]
    assert rows.keys() == {"all_items", "unseen_items_only"}
    assert rows["unseen_items_only"]["settings"].keys() == {
        f"popularity.{field}" for field in ("weight", "floor", "unit")
    }
    for row, figures in rows.items():
        best = max(
            report["methods"][name][row]["validation"]["NDCG@10"]
            for name in ("habits", "popularity")
            if row in report["methods"][name]
        )
        assert figures["validation"]["NDCG@10"] > 0.95 * best
        assert 0 <= figures["held_out"] <= 1
        assert figures["test"].keys() == figures["validation"].keys()


def test_a_search_goes_on_from_its_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beauty(tmp_path)
    journal = tmp_path / "trials.jsonl"
    asked = ("--methods", "counts", "--journal", str(journal))
    first = run("beauty", tmp_path, capsys, *asked)
    written = journal.read_text()
    counts = first["methods"]["counts"]["train_part_only"]
    assert len(written.splitlines()) == counts["trials"] >= 1
    assert counts["best_trials"][0]["worth"] == counts["validation"]["NDCG@10"] == 1.0
    again = run("beauty", tmp_path, capsys, *asked)
    assert again["methods"]["counts"]["train_part_only"]["settings"] == counts["settings"]
    # Nothing is tried twice, in either run.
    tried = [
        json.dumps(json.loads(line)["settings"], sort_keys=True)
        for line in journal.read_text().splitlines()
    ]
    assert len(tried) == len(set(tried)) >= counts["trials"]


def test_a_journal_of_other_data_is_not_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beauty(tmp_path)
    journal = tmp_path / "trials.jsonl"
    asked = ("--methods", "counts", "--journal", str(journal))
    run("beauty", tmp_path, capsys, *asked)
    before = len(journal.read_text().splitlines())
    (data,) = tmp_path.glob("*sequences*.txt")
    lines = [line.split() for line in data.read_text().splitlines()]
    data.write_text("".join(f"{user} {' '.join(items[::-1])}\n" for user, *items in lines))
    run("beauty", tmp_path, capsys, *asked)
    assert len(journal.read_text().splitlines()) > before


def test_no_method_at_all_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beauty(tmp_path)
    with pytest.raises(ValueError, match="there is no method magic; there are popularity"):
        run("beauty", tmp_path, capsys, "--methods", "counts", "magic")
    with pytest.raises(ValueError, match="a mixture of no methods"):
        run("beauty", tmp_path, capsys, "--methods", "blend")


def test_a_method_brings_those_that_it_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beauty(tmp_path)
    report = run("beauty", tmp_path, capsys, "--test", "--methods", "counts_twice")
    assert report["methods"].keys() == {"counts", "counts_twice"}
    # Two steps along the circle are one step too far.
    for row in report["methods"]["counts_twice"].values():
        assert row["settings"] == {"breadth": 50}
        assert 0 < row["test"]["NDCG@10"] < 1


def test_a_network_goes_on_from_a_checkpoint_beside_the_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def network_for(*_: Any, checkpoint: Path | None) -> Popularity:
        asked.append(checkpoint)
        return Popularity(lambda ranks: float(ranks.ndcg(10).mean()))

    monkeypatch.setattr("benchmarks.quality_network.network_for", network_for)
    beauty(tmp_path)
    journal = tmp_path / "trials.jsonl"
    run("beauty", tmp_path, capsys, "--methods", "network")
    more = ("--methods", "network", "--journal", str(journal))
    for seed in ("1", "1", "2"):
        run("beauty", tmp_path, capsys, *more, "--seed", seed)
    without, first, again, other = asked
    assert without is None
    assert first is not None and first.parent == tmp_path
    assert first.name.startswith("trials.jsonl.")
    assert first == again != other
