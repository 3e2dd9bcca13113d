"""Bad rows of files of the past: told, written down, and the end where that is wanted."""

import gzip
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from stream.replay.bad_pile import BadPile, StrictError
from stream.rows import BadRow, DamagedFileError, RowsError
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


def test_they_are_told_by_the_names_that_files_have_now(
    tmp_path: Path, with_bad_rows: Path
) -> None:
    bad: list[BadRow] = []
    past_of(tmp_path, [with_bad_rows], bad.append).prepare()
    (with_bad_rows / "a.jsonl").rename(with_bad_rows / "z.jsonl")
    again: list[BadRow] = []
    past = past_of(tmp_path, [with_bad_rows], again.append)
    past.prepare()
    assert [(row.path.name, row.line) for row in again[:3]] == [
        ("z.jsonl", 4), ("z.jsonl", 6), ("b.csv", 6)
    ]  # fmt: skip
    assert [Path(name).name for name in past.names] == ["b.csv", "c.parquet", "z.jsonl"]


def test_bad_rows_are_written_to_a_side_file(tmp_path: Path, with_bad_rows: Path) -> None:
    side = tmp_path / "deep" / "bad.jsonl"
    for _ in range(2):  # each run begins it anew
        with BadPile(side, anew=True) as pile:
            past_of(tmp_path, [with_bad_rows], pile.report).prepare()
        written = bad_rows_of(side)
        assert [(Path(row["file"]).name, row["line"], row["reason"]) for row in written] == BAD
    assert written[0]["row"] == '{"type":"click"}'
    assert written[1]["row_base64"] == "/w=="
    assert written[2]["row"] == 'click,"x\ny",u'
    assert json.loads(written[4]["row"])["ts"] == -1
    assert side.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["folder", "file/bad.jsonl", "log.jsonl", "accounts.csv"])
def test_a_side_file_that_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "log.jsonl").write_bytes(jsonl(ROWS[:2]))
    (tmp_path / "accounts.csv").write_bytes("账本".encode("gbk"))
    sentence = r"cannot be written .*; name another file with --bad-rows"
    with pytest.raises(RowsError, match=sentence), BadPile(tmp_path / name):
        pass


def test_of_one_fault_some_rows_are_shown_and_all_are_kept(tmp_path: Path) -> None:
    shown: list[str] = []
    with BadPile(tmp_path / "bad.jsonl", show=lambda bad: shown.append(str(bad))) as pile:
        for line in range(1, 2_001):
            fault = "no rule of shop.toml fits" if line % 2 else f"`price` is {line}"
            pile.report(BadRow(tmp_path / "log.csv", line, "invalid", fault))
    assert pile.count == len(bad_rows_of(tmp_path / "bad.jsonl")) == 2_000
    assert [text for text in shown if "no rule" in text] == [
        f"{tmp_path}/log.csv:{line}: invalid: no rule of shop.toml fits" for line in (1, 3, 5)
    ]
    assert len(shown) == 3 + 1_000


def damaged_files(folder: Path) -> list[Path]:
    """A file of each kind that lost its end, or some bytes in the middle, and a whole one."""
    folder.mkdir()
    rows = random.Random(3).sample(ROWS, len(ROWS))
    long = [row | {"session_id": random.Random(at).randbytes(8_000).hex()}
            for at, row in enumerate(rows)]  # fmt: skip
    wide = [
        row | {"item_id": random.Random(at).randbytes(100).hex()} for at, row in enumerate(rows)
    ]
    whole = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(long), whole, row_group_size=100)
    torn = bytearray(whole.getvalue())
    torn[-len(torn) // 3 : -len(torn) // 3 + 90_000] = bytes(90_000)
    found = {
        "a.jsonl.gz": gzip.compress(jsonl(rows))[:-900],
        "b.csv.zst": zstandard.compress(comma(wide))[:-900],
        "c.csv.gz": gzip.compress(comma(rows))[:-5],
        "d.parquet": bytes(torn),
        "e.parquet": tables(rows)[:-9],
        "f.jsonl": jsonl(rows[:10]),
    }
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in found]


def test_of_a_damaged_file_what_stands_before_the_damage_is_taken(tmp_path: Path) -> None:
    files = damaged_files(tmp_path / "in")
    told: list[DamagedFileError] = []
    past = past_of(tmp_path, files, on_damage=told.append)
    summary = past.prepare()
    assert summary.bad == {}
    assert [each.path for each in told] == files[:5]
    # The line of names counts in CSV.
    assert 10 + sum(each.line - 1 - (".csv" in each.path.name) for each in told) == summary.events
    assert summary.events > 1_000
    assert re.search(r"a\.jsonl\.gz is damaged from line \d+ on \(.+\); mend it", str(told[0]))
    again: list[DamagedFileError] = []
    files[0].rename(tmp_path / "in" / "z.jsonl.gz")
    past_of(tmp_path, [tmp_path / "in"], on_damage=again.append).prepare()
    assert sorted(map(str, again)) == sorted(
        str(each).replace("a.jsonl", "z.jsonl") for each in told
    )


def test_strict_takes_nothing_of_a_damaged_file(tmp_path: Path) -> None:
    files = damaged_files(tmp_path / "in")
    pile = BadPile(strict=True)
    with pytest.raises(DamagedFileError, match="is damaged from line"):
        past_of(tmp_path, files, pile.report, on_damage=pile.damage).prepare()


def test_strict_stops_at_the_first_bad_row(tmp_path: Path, with_bad_rows: Path) -> None:
    for _ in range(2):
        past = past_of(tmp_path, [with_bad_rows], BadPile(strict=True).report)
        with pytest.raises(StrictError, match=r"a\.jsonl:4: invalid: .*; correct it"):
            list(past.batches({}))
        # Nor does it take what a run that was not strict has sorted.
        past_of(tmp_path, [with_bad_rows], lambda row: None).prepare()
