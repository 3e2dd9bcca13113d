"""``nextclick evaluate``: every protocol, folders, the report, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.bundle import MODEL_FILES, load_bundle
from model.events import Click, encode_event
from model.items import Item, encode_item
from model.protocols import PROTOCOLS
from stream import report_folder
from stream.cli_evaluate import GraphPrecision, Protocol
from stream.evaluation import event_files
from stream.training import EvaluationError
from tests.command_line import typed
from tests.test_assessment import moods
from tests.tiny import tiny_bundle

FREE = "2016-07-25"
"""A day after all that the tiny bundle claims to have learned from, once it is dated back."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log in two files, and something else beside them."""
    folder = tmp_path_factory.mktemp("log")
    found = moods()
    lines = [
        encode_event(
            Click(
                event_id=str(number),
                user_id=found.user_ids[found.users[number]],
                ts=int(found.times[number]),
                item_id=found.item_ids[found.items[number]],
            )
        )
        for number in range(len(found))
    ]
    (folder / "a.jsonl").write_bytes(b"\n".join(lines[::2]))
    (folder / "b.ndjson").write_bytes(b"\n".join(lines[1::2]))
    (folder / "README").write_text("not events", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    tiny_bundle(path, moods().item_ids)
    manifest = path / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("2026-01-", "2016-01-"), encoding="utf-8")
    return path


def test_the_choices_of_the_command_line_are_those_of_the_model() -> None:
    assert tuple(each.value for each in Protocol) == (*PROTOCOLS, "search")
    assert {each.value for each in GraphPrecision} == set(MODEL_FILES)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_prints_one_object(
    protocol: str,
    log: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, told, _ = typed(
        monkeypatch, capsys, "evaluate", "--data", log, "--bundle", bundle, "--protocol", protocol,
        "--since", FREE, "--cases", 60, "--tune-seconds", 0, "--json",
    )  # fmt: skip
    assert status == 0
    assert told.count("\n") == 1
    found: dict[str, Any] = json.loads(told)
    assert (found["protocol"], found["bad"]) == (protocol, 0)
    assert found["bundle"] == load_bundle(bundle).manifest.version
    assert found["first_day"] == FREE
    assert 0 < found["cases"] <= 60
    assert found["counts_tuning"]["trials"] == found["counts_tuning"]["seconds"] == 0
    assert (found["prequential"] is not None) == (protocol == "prequential")
    for name, metrics in found["metrics"].items():
        assert metrics["hit@10"] == found["contenders"][name]["metrics"]["hit@10"]["mean"]


def test_tables_and_a_report(
    log: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalogue = tmp_path / "items.jsonl"
    items = [Item(item_id=name, category=(name[:3],)) for name in moods().item_ids]
    catalogue.write_bytes(b"\n".join(map(encode_item, items)))
    report = tmp_path / "reports" / "walk"
    arguments = (
        log / "a.jsonl", "--data", log / "b.ndjson", "--bundle", bundle, "--since", FREE, "--cases",
        "80", "--tune-seconds", "0", "--catalog", catalogue, "--report", report,
    )  # fmt: skip
    status, told, _ = typed(
        monkeypatch, capsys, "evaluate", *arguments, "--protocol", "prequential"
    )
    assert status == 0
    assert "80 next events, predicted and then learned" in told
    assert "80 of " in told
    assert "Where a profile that stands still" in told
    assert "The counts were not tuned" in told
    assert f"wrote {report / 'report.md'}" in told.replace("\n", "")
    assert {each.name for each in report.iterdir()} == {
        "report.json", "report.md", "metrics.png", "coverage_novelty.png", "reliability.png",
        "prequential.png",
    }  # fmt: skip
    for picture in report.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 5_000
    figures = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert figures["diversity_by"] == "category"
    text = (report / "report.md").read_text(encoding="utf-8")
    hit = figures["contenders"]["popular"]["metrics"]["hit@5"]["mean"]
    assert f"{hit:.4f} ±" in text
    assert all(f"]({name})" in text for name in ("metrics.png", "prequential.png"))
    assert f"--report {report}" in text
    assert [each.name for each in report.parent.iterdir()] == ["walk"]

    # A report of another protocol takes its place, plots that it has not are gone.
    status, _, _ = typed(monkeypatch, capsys, "evaluate", *arguments, "--protocol", "session")
    assert status == 0
    assert not (report / "prequential.png").exists()
    assert "# session of bundle" in (report / "report.md").read_text(encoding="utf-8")


def test_without_matplotlib_nothing_is_begun(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(report_folder, "find_spec", lambda name: None)
    status, _, errors = typed(
        monkeypatch, capsys, "evaluate", tmp_path / "absent.jsonl", "--report", tmp_path / "r"
    )
    assert status == 2
    assert "pip install 'nextclick[report]'" in errors
    assert not (tmp_path / "r").exists()


def test_a_graph_that_the_bundle_lacks_is_told(
    log: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = "--data", log, "--bundle", bundle, "--since", FREE, "--precision", "int8"
    status, _, errors = typed(monkeypatch, capsys, "evaluate", *arguments)
    assert status == 2
    assert "has no int8 graph" in errors


def test_a_folder_with_other_things_is_left_alone(
    log: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    status, _, errors = typed(
        monkeypatch, capsys, "evaluate", "--data", log, "--bundle", bundle, "--report", tmp_path
    )
    assert status == 2
    assert "holds other things than a report" in errors
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_catalogue_of_other_items_is_told(
    log: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalogue = tmp_path / "items.jsonl"
    catalogue.write_bytes(encode_item(Item(item_id="elsewhere", category=("a",))))
    arguments = "--data", log, "--bundle", bundle, "--since", FREE, "--catalog", catalogue
    status, _, errors = typed(monkeypatch, capsys, "evaluate", *arguments)
    assert status == 2
    assert "no item of the log has a category in" in errors


def test_files_of_known_formats_are_found(log: Path, tmp_path: Path) -> None:
    names = [each.name for each in event_files([], [log])]
    assert names == ["a.jsonl", "b.ndjson"]
    assert event_files([tmp_path / "x"], [tmp_path / "y.csv"]) == [
        tmp_path / "x", tmp_path / "y.csv",
    ]  # fmt: skip
    for name in ("c.csv.gz", "d.jsonl.zst", "e.parquet", "f.parquet.gz.txt", ".gz"):
        (tmp_path / name).touch()
    assert [each.name for each in event_files([], [tmp_path])] == [
        "c.csv.gz", "d.jsonl.zst", "e.parquet",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="holds no event file"):
        event_files([], [tmp_path / "empty"])
    with pytest.raises(EvaluationError, match="there is nothing to judge on"):
        event_files([], [])
