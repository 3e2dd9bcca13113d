"""Files as a source of the past: one order, whatever they look like and wherever it stops."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream.replay import event_batches
from stream.replay.past import Past
from stream.rows import RowsError
from tests.past_files import (
    ROWS,
    START,
    WRITERS,
    expected,
    jsonl,
    past_of,
    read,
    shuffled,
    told,
)


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


def test_batches_of_long_events_are_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_batches, "BATCH_BYTES", 10_000)
    rows = [row | {"rec_id": "r" * (1_000 if n < 500 else 10)} for n, row in enumerate(ROWS)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows))
    batches = list(past_of(tmp_path, [tmp_path / "a.jsonl"]).batches({}))
    assert told(batches) == expected(rows)
    assert {len(batch.decoded) for batch in batches[:50]} == {8}
    assert len(batches[-2].decoded) == 64
    sizes = [sum(len(each.record.value or b"") for each in batch.decoded) for batch in batches]
    assert max(sizes) <= 10_000


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


def test_all_done_leaves_a_summary(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    whole = read(past)
    past.finish()
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert left == {"lock", f"{past.digest}.summary.json"}
    again = past_of(tmp_path, [tmp_path / "a.jsonl"])
    again.identify()
    assert again.known() == past.summary
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
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert left == {"lock", f"{past.digest}.summary.json"}


@pytest.mark.parametrize("suffix", WRITERS)
def test_standard_input_may_be_of_any_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(WRITERS[suffix](shuffled(ROWS)))
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert read(past_of(tmp_path, [Path("-")])) == expected(ROWS)
    kept = list((tmp_path / "work").glob("*/*"))
    assert kept and not [path for path in kept if path.name.startswith("stdin")]


def test_nothing_is_read_before_it_is_told_what_will_be(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "*.jsonl", Path("-")])
    assert past.told()[:2] == [f"{tmp_path / 'a.jsonl'} (0.1 MB)", "standard input"]
    assert past.total() is None
    assert not (tmp_path / "work").exists()
    with pytest.raises(RowsError, match=r"nothing\.csv is not a file"):
        past_of(tmp_path, [tmp_path / "nothing.csv"]).told()


def test_of_many_files_the_first_are_told(tmp_path: Path) -> None:
    for at in range(30):
        (tmp_path / f"{at:02}.jsonl").write_bytes(bytes(100_000))
    lines = past_of(tmp_path, [tmp_path]).told()
    assert lines[19:21] == [f"{tmp_path / '19.jsonl'} (0.1 MB)", "and 10 more files (1.0 MB)"]


def test_a_sorted_run_that_lost_its_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    whole = read(past)
    (run,) = (tmp_path / "work").glob("*/run-*")
    data = run.read_bytes()
    for length in (len(data) // 2, 0):
        run.write_bytes(data[:length])
        with pytest.raises(RowsError, match=r"is damaged \(.*\); remove it and start again"):
            read(past)
    run.write_bytes(data)
    assert read(past) == whole


def test_no_events_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    past: Past = past_of(tmp_path, [tmp_path / "a.jsonl"])
    assert list(past.batches({})) == []
    assert past.total() == 0


def test_no_room_for_what_is_sorted_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "work").touch()
    with pytest.raises(RowsError, match="cannot hold the sorted events"):
        past_of(tmp_path, [tmp_path / "a.jsonl"]).prepare()
