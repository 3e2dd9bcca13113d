"""Sorted runs: what comes out is what went in, in order, whatever went in."""

import gc
import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.replay import sorted_runs
from stream.replay.sorted_runs import COLUMNS, Events, Key, RunWriter, key_at, merged


def batch_of(rows: list[Key]) -> Events:
    """Rows in columns."""
    columns = zip(zip(*rows, strict=True), COLUMNS.types, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(*each) for each in columns], schema=COLUMNS)


def written(folder: Path, rows: Iterable[Key], run_bytes: int, at_once: int = 50) -> list[Path]:
    """The runs of some rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, writer = list(rows), RunWriter(folder, run_bytes)
    for start in range(0, len(rows), at_once):
        writer.add(batch_of(rows[start : start + at_once]))
    return writer.close()


def read(runs: list[Path]) -> list[Key]:
    """All rows of some runs."""
    return [key_at(events, row) for events in merged(runs) for row in range(len(events))]


def rows_of(count: int, moments: int, seed: int = 1) -> list[Key]:
    """Shuffled rows at so many moments."""
    drawn = random.Random(seed)
    return [
        (drawn.randrange(moments), b"%d" % drawn.randrange(40), b"%d" % drawn.randrange(3))
        for _ in range(count)
    ]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three rows and merges of three runs, so that few rows take every way."""
    monkeypatch.setattr(sorted_runs, "BLOCK_ROWS", 3)
    monkeypatch.setattr(sorted_runs, "FAN_IN", 3)


@pytest.mark.parametrize("moments", [1, 5, 100_000])
def test_rows_come_out_in_order(tmp_path: Path, small_blocks: None, moments: int) -> None:
    rows = rows_of(1_000, moments)
    runs = written(tmp_path, rows, run_bytes=2_000)
    assert 1 < len(runs) <= 3
    assert read(runs) == sorted(rows)
    assert sorted(tmp_path.iterdir()) == sorted(runs), "a run that was merged is left"


def test_what_is_in_order_makes_one_run(tmp_path: Path) -> None:
    rows = sorted(rows_of(1_000, 100))
    runs = written(tmp_path, rows, run_bytes=2_000)
    assert len(runs) == 1
    assert read(runs) == rows


def test_nothing_makes_no_run(tmp_path: Path) -> None:
    assert written(tmp_path, [], run_bytes=10) == []
    assert read([]) == []


keys = st.tuples(st.integers(0, 3), st.binary(max_size=2), st.binary(max_size=2))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(keys, max_size=80), at_once=st.integers(1, 20), run_bytes=st.integers(1, 900))
def test_any_rows_come_out_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Key], at_once: int, run_bytes: int
) -> None:
    runs = written(tmp_path_factory.mktemp("runs"), rows, run_bytes, at_once)
    assert read(runs) == sorted(rows)


def test_blocks_are_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    large = sorted_runs.BLOCK_BYTES // 3
    rows: list[Key] = [(n, b"", bytes(large if n % 100 == 0 else 1)) for n in range(9_000)]
    (run,) = written(tmp_path, rows, run_bytes=1 << 30, at_once=1_000)
    blocks = list(pa.ipc.open_stream(pa.OSFile(str(run))))
    assert sum(map(len, blocks)) == len(rows)
    assert max(map(len, blocks)) <= sorted_runs.BLOCK_ROWS
    assert max(block.column("data").nbytes for block in blocks) < 1.1 * sorted_runs.BLOCK_BYTES


@pytest.fixture
def no_garbage() -> None:
    """What earlier tests have left of Arrow's memory would go, and be missed, at any moment."""
    gc.collect()


@pytest.mark.usefixtures("no_garbage")
def test_no_more_than_a_block_of_each_run_is_in_memory(tmp_path: Path) -> None:
    """Arrow counts what it holds: ten times the rows take no more of it."""
    peaks = []
    for count in (4_000, 40_000):
        rows = [(n, b"%d" % n, bytes(500)) for n in range(count)]
        # Of four files side by side, each in order.
        parts = [row for part in range(4) for row in rows[part::4]]
        runs = written(tmp_path / str(count), parts, run_bytes=10_000)
        assert len(runs) == 4
        blocks, held = 0, 0
        before = pa.total_allocated_bytes()
        for _ in merged(runs):
            held = max(held, pa.total_allocated_bytes() - before)
            blocks += 1
        assert blocks > 4
        peaks.append(held)
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 20_000_000


@pytest.mark.usefixtures("no_garbage")
def test_no_more_than_a_run_is_sorted_in_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (4_000, 40_000):
        drawn = random.Random(3)
        writer = RunWriter(tmp_path, run_bytes=1_000_000)
        before, held = pa.total_allocated_bytes(), 0
        for _ in range(count // 100):
            rows = [(drawn.randrange(count), b"id", bytes(500)) for _ in range(100)]
            writer.add(batch_of(rows))
            held = max(held, pa.total_allocated_bytes() - before)
        assert len(writer.close()) == count // 2_000
        assert held > 900_000
        peaks.append(held)
    assert peaks[1] < 1.2 * peaks[0]
