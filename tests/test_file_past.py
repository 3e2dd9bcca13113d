"""Files as a source of the past: one order, whatever they look like and wherever it stops."""

import gzip
import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from model.events import ContractError, decode_event
from stream.replay.file_past import FilePast
from stream.replay.past import PastBatch
from stream.rows import BadRow, RowsError

START = 1_700_000_000_000
NOW = 1_800_000_000_000
ROWS: list[dict[str, Any]] = [
    {"type": "click", "event_id": f"e{n % 911}", "user_id": f"用户{n % 7}", "ts": START + n // 5,
     "item_id": f"i{n % 13}"}
    for n in range(1_000)
]  # fmt: skip
SMALL = 4_000
"""Bytes sorted at a time: a thousand rows make dozens of runs."""


def jsonl(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def comma(rows: Sequence[dict[str, Any]]) -> bytes:
    lines = [",".join(map(str, row.values())) for row in rows]
    return "\n".join([",".join(ROWS[0]), *lines, ""]).encode()


def tables(rows: Sequence[dict[str, Any]]) -> bytes:
    packed = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows)), packed)
    return packed.getvalue()


WRITERS: dict[str, Callable[[Sequence[dict[str, Any]]], bytes]] = {
    ".jsonl": jsonl,
    ".jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    ".jsonl.zst": lambda rows: zstandard.compress(jsonl(rows)),
    ".csv": comma,
    ".csv.gz": lambda rows: gzip.compress(comma(rows)),
    ".csv.zst": lambda rows: zstandard.compress(comma(rows)),
    ".parquet": tables,
}


def shuffled(rows: Sequence[dict[str, Any]], seed: int = 5) -> list[dict[str, Any]]:
    return random.Random(seed).sample(list(rows), len(rows))


def nothing_is_bad(row: BadRow) -> None:
    raise AssertionError(str(row))


def past_of(
    tmp_path: Path, paths: Sequence[Path], report: Callable[[BadRow], None] = nothing_is_bad,
    **options: Any,
) -> FilePast:  # fmt: skip
    """A past in small runs and batches."""
    given: dict[str, Any] = {"folder": tmp_path / "work", "run_bytes": SMALL, "batch": 64} | options
    return FilePast(paths, report, **given)


Told = list[tuple[int, int, bytes, bytes]]


def told(batches: Sequence[PastBatch]) -> Told:
    """What a consumer sees of batches, without the name of the set."""
    return [
        (
            each.record.partition,
            each.record.offset,
            each.record.key or b"",
            each.record.value or b"",
        )
        for batch in batches
        for each in batch.decoded
    ]


def read(past: FilePast) -> Told:
    return told(list(past.batches({})))


def expected(rows: Sequence[dict[str, Any]]) -> Told:
    """By the definition: sorted by time, id and content."""
    ordered = sorted(rows, key=lambda row: (row["ts"], row["event_id"], json.dumps(row)))
    keys = [row["user_id"].encode() for row in ordered]
    return [
        (crc32(key) % 64, offset, key, msgspec.json.encode(row))
        for offset, (key, row) in enumerate(zip(keys, ordered, strict=True))
    ]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_every_format_gives_the_same_events_in_order(
    tmp_path: Path, suffix: str, is_shuffled: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(WRITERS[suffix](shuffled(ROWS) if is_shuffled else ROWS))
    assert read(past_of(tmp_path, [path])) == expected(ROWS)


def test_many_files_of_all_formats_are_one_past(tmp_path: Path) -> None:
    folder, rows = tmp_path / "in", shuffled(ROWS)
    folder.mkdir()
    for at, (suffix, write) in enumerate(WRITERS.items()):
        (folder / f"part-{at}{suffix}").write_bytes(write(rows[at :: len(WRITERS)]))
    past = past_of(tmp_path, [folder])
    assert read(past) == expected(ROWS)
    assert past.summary is not None
    assert (past.total(), past.summary.first, past.summary.newest) == (1_000, START, START + 199)


def test_copies_stay(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(shuffled(ROWS, seed)))
    past = past_of(tmp_path, [tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert read(past) == expected(ROWS + ROWS)


def test_records_and_positions_carry_the_name_of_the_set(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    batches = list(past.batches({}))
    digest = past.part.removeprefix("files:")
    assert len(digest) == 16
    assert {each.record.topic for batch in batches for each in batch.decoded} == {f"files-{digest}"}
    ends = [min(64 * (at + 1), 1_000) for at in range(len(batches))]
    assert [batch.position for batch in batches] == [{past.part: end} for end in ends]
    assert [batch.newest for batch in batches] == [START + (end - 1) // 5 for end in ends]


def test_it_goes_on_behind_each_position(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(shuffled(ROWS)))
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    whole = list(past.batches({}))
    for at, batch in enumerate(whole):
        assert told(list(past.batches(batch.position))) == told(whole[at + 1 :])
    assert told(list(past.batches({past.part: 77}))) == told(whole)[77:]
    assert list(past.batches({past.part: 1_001})) == []


def test_a_set_is_known_by_its_contents(tmp_path: Path) -> None:
    def part(*names: str) -> str:
        past = past_of(tmp_path, [tmp_path / name for name in names])
        past.prepare()
        return past.part

    for name, rows in (("a", ROWS[:9]), ("b", ROWS[9:]), ("c", ROWS[:9]), ("d", ROWS[8:])):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(rows))
    assert part("a.jsonl", "b.jsonl") == part("b.jsonl", "c.jsonl")
    assert len({part("a.jsonl"), part("a.jsonl", "c.jsonl"), part("b.jsonl"), part("d.jsonl")}) == 4


def test_what_was_sorted_is_not_sorted_again(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(shuffled(ROWS)))
    first = read(past_of(tmp_path, [tmp_path / "a.jsonl"]))
    counted: list[int] = []
    again = past_of(tmp_path, [tmp_path / "a.jsonl"], progress=counted.append)
    assert read(again) == first
    assert counted == []


def test_all_done_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    whole = read(past)
    past.finish()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]
    assert read(past) == whole, "another replay of it has to sort again"


def test_one_that_ends_does_not_disturb_another(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(shuffled(ROWS)))
    one, two = (past_of(tmp_path, [tmp_path / "a.jsonl"]) for _ in range(2))
    reading = one.batches({})
    begun = [next(reading)]
    whole = read(two)
    two.finish()
    assert told(begun + list(reading)) == whole


KILLED = """
import os, signal, sys
from pathlib import Path
from stream.replay.file_past import FilePast
def progress(rows):
    if rows > 500:
        os.kill(os.getpid(), signal.SIGKILL)
past = FilePast([Path(sys.argv[1])], print, folder=Path(sys.argv[2]), progress=progress,
                run_bytes=4000)
past.prepare()
"""


def test_a_kill_while_it_sorts_breaks_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for at in range(10):
        (folder / f"{at}.jsonl").write_bytes(jsonl(shuffled(ROWS)[at::10]))
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "work")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list((tmp_path / "work").glob("*/run-*"))
    past = past_of(tmp_path, [folder])
    assert read(past) == expected(ROWS)
    past.finish()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_standard_input_may_be_of_any_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(WRITERS[suffix](shuffled(ROWS)))
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert read(past_of(tmp_path, [Path("-")])) == expected(ROWS)


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
        bad: list[BadRow] = []
        past = past_of(tmp_path, [with_bad_rows], bad.append, strict=True)
        with pytest.raises(RowsError, match=r"a\.jsonl:4: invalid: .*; mend the row"):
            list(past.batches({}))
        assert [row.line for row in bad] == [4]
        # Nor does it take what a run that was not strict has sorted.
        past_of(tmp_path, [with_bad_rows], lambda row: None).prepare()


def test_nothing_is_read_before_it_is_told_what_will_be(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "*.jsonl", Path("-")])
    assert past.told()[:2] == [f"{tmp_path / 'a.jsonl'} (0.1 MB)", "standard input"]
    assert past.total() is None
    assert not (tmp_path / "work").exists()
    with pytest.raises(RowsError, match=r"nothing\.csv is not a file"):
        past_of(tmp_path, [tmp_path / "nothing.csv"]).told()


def test_no_events_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    assert read(past) == []
    assert past.total() == 0


def test_no_room_for_what_is_sorted_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "work").touch()
    with pytest.raises(RowsError, match="cannot hold the sorted events"):
        past_of(tmp_path, [tmp_path / "a.jsonl"]).prepare()


class Form(msgspec.Struct):
    """How files of a test's mapping are laid out."""

    separator: str = "::"
    columns: tuple[str, ...] | None = ("who", "what", "when")


class Foreign(msgspec.Struct):
    """Stands in for a mapping: one event of each item of a row, none of a row without a user."""

    form: Form | None = msgspec.field(default_factory=Form)
    digest: str = "foreign"

    def events(self, fields: dict[str, Any]) -> list[bytes]:
        """Items are joined with a comma."""
        if not fields["who"]:
            return []
        if not str(fields["when"]).isdigit():
            raise ContractError("invalid", "`when` is no time")
        return [
            msgspec.json.encode(
                {"type": "click", "event_id": f"{fields['who']}-{item}", "user_id": fields["who"],
                 "ts": START + int(fields["when"]), "item_id": item}
            )
            for item in fields["what"].split(",")
        ]  # fmt: skip

    def events_of_record(self, value: bytes) -> list[bytes]:
        """Of a record in JSON."""
        return self.events(msgspec.json.decode(value))


FOREIGN = [("u", "a,b", "5"), ("", "a", "1"), ("v", "c", "x"), ("w", "c", "3"), ("x", ",d", "4")]
"""Two events; none; a bad row; one; one of two is bad, so that neither counts."""


@pytest.mark.parametrize("name", ["log.dat", "log.dat.gz", "log.jsonl", "log.parquet"])
def test_a_mapping_makes_the_events(tmp_path: Path, name: str) -> None:
    named = [dict(zip(("who", "what", "when"), row, strict=True)) for row in FOREIGN]
    data = {
        ".dat": "".join("::".join(row) + "\n" for row in FOREIGN).encode(),
        ".jsonl": jsonl(named),
        ".parquet": tables(named),
    }[Path(name.removesuffix(".gz")).suffix]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    bad: list[BadRow] = []
    past = past_of(tmp_path, [tmp_path / name], bad.append, mapping=Foreign())
    events = [decode_event(value, NOW) for *_, value in read(past)]
    assert [(event.time - START, event.event_id) for event in events] == [
        (3, "w-c"), (5, "u-a"), (5, "u-b")
    ]  # fmt: skip
    assert [(row.line, row.reason) for row in bad] == [(3, "invalid"), (5, "invalid")]
    assert past.summary is not None
    assert past.summary.unmapped == 1


def test_another_mapping_makes_another_set(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_bytes(b"u::a::1\n")
    parts = set[str]()
    for mapping in (Foreign(), Foreign(digest="other")):
        past = past_of(tmp_path, [tmp_path / "log.dat"], mapping=mapping)
        past.prepare()
        parts.add(past.part)
    assert len(parts) == 2
