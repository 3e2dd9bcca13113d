"""The sampled profile of a worker: what runs is counted once, where it was called."""

import os
from pathlib import Path

import pytest

from benchmarks.flame_graph import figures, folded
from benchmarks.performance_plots import write_plot
from benchmarks.performance_tables import flame_section
from tests.printed_figures import figures_of

LOOP = "BaseEventLoop._run_once (asyncio/base_events.py:1922);Handle._run (asyncio/events.py:80)"
LINES = [
    f"thread (0x1): MainThread;main (stream/cli.py:9);{LOOP};prepare (serving/recommend.py:90);"
    "learn (serving/learning.py:43) 6",
    f"thread (0x1): MainThread;main (stream/cli.py:9);{LOOP};prepare (serving/recommend.py:93);"
    "learn (serving/learning.py:44) 2",
    f"thread (0x1): MainThread;main (stream/cli.py:9);{LOOP} 1",
    "thread (0x1): MainThread;main (stream/cli.py:9);EpollSelector.select (selectors.py:468) 40",
    "thread (0x2): ranker;TimedRanker._work (serving/timed_ranker.py:90);"
    "Session.run (onnxruntime/session.py:1) 10",
    "thread (0x2): ranker;TimedRanker._work (serving/timed_ranker.py:88) 40",
    "thread (0x3): Thread-7 (x);run (threading.py:1);read (aiokafka/conn.py:2) 1",
]


def test_lines_of_a_function_are_one_and_waiting_is_not_counted() -> None:
    assert folded(LINES) == {
        ("MainThread", "prepare (serving/recommend.py)", "learn (serving/learning.py)"): 8,
        ("MainThread", "Handle._run (asyncio/events.py)"): 1,
        ("ranker", "TimedRanker._work (serving/timed_ranker.py)",
         "Session.run (onnxruntime/session.py)"): 10,
        ("other threads", "read (aiokafka/conn.py)"): 1,
    }  # fmt: skip


def test_shares_are_of_what_runs() -> None:
    found = figures(folded(LINES))
    assert found["samples"] == 20
    assert found["threads"] == {"ranker": 0.5, "MainThread": 0.45, "other threads": 0.05}
    learn = found["functions"]["learn (serving/learning.py)"]
    assert learn == {"own": 0.4, "total": 0.4}
    assert found["stacks"]["MainThread;prepare (serving/recommend.py)"] == 8
    assert found["stacks"]["MainThread"] == 9


def test_its_table_and_its_plot(tmp_path: Path) -> None:
    found = figures(folded(LINES)) | {"broker": "kafka", "rate": 200, "seconds": 20}
    assert "| `learn (serving/learning.py)` | 40.0% | 40.0% |" in flame_section(found)
    assert write_plot("flame_graph", found, tmp_path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(
    os.geteuid() != 0
    and Path("/proc/sys/kernel/yama/ptrace_scope").is_file()
    and Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() != "0",
    reason="this kernel lets nobody look at another process (kernel.yama.ptrace_scope)",
)
def test_a_worker_is_looked_at() -> None:
    found = figures_of(
        "flame_graph", "--broker=embedded", "--seconds=2", "--items=200", "--users=300",
        "--events=30000",
    )  # fmt: skip
    assert found["samples"] > 0
    assert sum(found["threads"].values()) == pytest.approx(1, abs=0.01)
    assert any("prepare (serving/recommend.py)" in stack for stack in found["stacks"])
