"""The benchmark of small micro-batches: each burst is learnt, and takes processor time."""

import os
import threading
from pathlib import Path

import pytest

from benchmarks.micro_batches import by_thread
from tests.printed_figures import figures_of


def test_bursts_are_learnt_and_their_processor_time_is_told() -> None:
    found = figures_of(
        "micro_batches", "--broker=embedded", "--items=200", "--users=50", "--sizes=1,3",
        "--bursts=20", "--idle=0.2", "--rounds=1",
    )  # fmt: skip
    assert set(found["by_size"]) == {"1", "3"}
    for size, each in found["by_size"].items():
        assert each["micro_batches"] > 0
        assert found[f"cpu_ms_of_{size}"] == each["cpu_ms"]
        assert each["threads_ms"] == sorted(each["threads_ms"], reverse=True)
        assert each["threads_ms"][0] > 0
    assert found["idle_share"] >= 0


def test_a_thread_that_has_ended_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a server of metrics does when it has answered."""
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: [folder / "0", *listed(folder)])
    found = by_thread(os.getpid())
    assert str(threading.get_native_id()) in found
    assert "0" not in found
