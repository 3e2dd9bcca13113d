"""Bad rows of files of the past: told, written down, and the end where that is wanted."""

import json
from pathlib import Path
from typing import Any

import pytest

from stream.replay.bad_records import BadPile, StrictError
from stream.rows import BadRow
from tests.past_files import (
    ROWS,
    comma,
    jsonl,
    past_of,
    read,
    tables,
)


def bad_rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def with_bad_rows(tmp_path: Path) -> Path:
    """A folder in which four rows are bad."""
    folder = tmp_path / "in"
    folder.mkdir()
    data = jsonl(ROWS[:3]) + b'{"type":"click"}\n\n' + b"\xff\n" + jsonl(ROWS[3:5])
    (folder / "a.jsonl").write_bytes(data)
    (folder / "b.csv").write_bytes(comma(ROWS[5:8]) + b'click,"x\ny",u\n' + comma(ROWS[8:9]))
    (folder / "c.parquet").write_bytes(tables([ROWS[9] | {"ts": -1}, ROWS[10]]))
    return folder


BAD = [("a.jsonl", 4, "invalid"), ("a.jsonl", 6, "malformed_json"), ("b.csv", 6, "unreadable"),
       ("b.csv", 7, "invalid"), ("c.parquet", 1, "time_range")]  # fmt: skip


def test_bad_rows_are_told_with_their_places(tmp_path: Path, with_bad_rows: Path) -> None:
    bad: list[BadRow] = []
    past = past_of(tmp_path, [with_bad_rows], bad.append)
    assert len(read(past)) == 10
    assert [(row.path.name, row.line, row.reason) for row in bad] == BAD
    assert past.summary is not None
    assert (past.summary.rows, sum(past.summary.bad.values())) == (15, 5)
    # A second run tells them again, without reading the files.
    again: list[BadRow] = []
    past_of(tmp_path, [with_bad_rows], again.append).prepare()
    assert again == bad


def test_bad_rows_are_written_to_a_side_file(tmp_path: Path, with_bad_rows: Path) -> None:
    past = past_of(tmp_path, [with_bad_rows], lambda row: None)
    past.prepare()
    assert past.bad_rows is not None
    assert past.bad_rows.parent == tmp_path / "work"
    written = bad_rows_of(past.bad_rows)
    assert [(Path(row["file"]).name, row["line"], row["reason"]) for row in written] == BAD
    assert written[0]["row"] == '{"type":"click"}'
    assert written[1]["row_base64"] == "/w=="
    assert written[2]["row"] == 'click,"x\ny",u'
    assert json.loads(written[4]["row"])["ts"] == -1
    past.finish()
    assert past.bad_rows.exists()
    named = past_of(tmp_path, [with_bad_rows], lambda row: None, bad_rows=tmp_path / "bad.jsonl")
    named.prepare()
    assert bad_rows_of(tmp_path / "bad.jsonl") == written


def test_strict_stops_at_the_first_bad_row(tmp_path: Path, with_bad_rows: Path) -> None:
    for _ in range(2):
        past = past_of(tmp_path, [with_bad_rows], BadPile(strict=True).report)
        with pytest.raises(StrictError, match=r"a\.jsonl:4: invalid: .*; correct it"):
            list(past.batches({}))
        # Nor does it take what a run that was not strict has sorted.
        past_of(tmp_path, [with_bad_rows], lambda row: None).prepare()
