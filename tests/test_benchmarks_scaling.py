"""The benchmark of scaling: costs at each size, and the slope that is fitted to them."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scaling
from benchmarks.measured import MeasuredWorker
from benchmarks.ratios import median_ratio
from benchmarks.scaling import CURVES, growth
from stream.settings import Settings
from tests.printed_figures import figures_of, run_benchmark


def test_a_list_costs_something_at_every_size(tmp_path: Path) -> None:
    found = figures_of(
        "scaling", "--only=users", "--sizes=50,400", "--rounds=1", "--seconds=0.05",
        f"--plots={tmp_path}",
    )  # fmt: skip
    assert set(found["users"]["us_per_list"]) == {"50", "400"}
    assert min(found["users"]["cpu_us_per_list"].values()) > 0
    assert min(found["users"]["rss_mb"].values()) > 0
    assert set(found["users"]["recall_at_100"].values()) == {1.0}, "all items are scored"
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert median_ratio([2, 9, 40], [1, 3, 20]) == 2
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1, 2], [1])


def test_a_million_items_are_held_against_those_of_their_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = {"10000": [1.0] * 3, "100000": [1.0, 3.0, 20.0], "1000000": [2.0, 9.0, 40.0]}

    def curve(*_: Any) -> dict[str, Any]:
        return {"us_per_list_by_round": rounds}

    monkeypatch.setattr(scaling, "curve", curve)
    asked = argparse.Namespace(only="catalogue", sizes=None, seconds=1.0, rounds=3)
    assert scaling.measure(asked)["million_vs_100_thousand_items"] == 2  # of the medians, 3


def test_sizes_need_their_curve() -> None:
    run = run_benchmark("scaling", "--sizes=1,2")
    assert run.returncode == 2
    assert "--sizes needs --only" in run.stderr


@pytest.mark.parametrize(("power", "factor"), [(0.0, 3.0), (0.5, 1.0), (1.0, 2.0)])
def test_growth_is_the_power_of_the_size(power: float, factor: float) -> None:
    assert growth({size: factor * size**power for size in (10, 100, 1000)}) == power


def test_each_curve_changes_what_it_is_named_after() -> None:
    sizes = {name: sizes_of([20, 40]) for name, (sizes_of, _) in CURVES.items()}
    assert [each.items for each in sizes["catalogue"].values()] == [20, 40]
    assert [each.length for each in sizes["history"].values()] == [20, 40]
    assert [each.users for each in sizes["users"].values()] == [20, 40]


def test_a_worker_starts_on_its_core_and_the_benchmark_stays_on_all(tmp_path: Path) -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    worker = MeasuredWorker(Settings(), tmp_path / "worker.log", core)
    seen: list[set[int]] = []

    def start() -> None:
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen.append({int(each) for each in told.stdout.split()})

    worker.process.start = start  # type: ignore[method-assign]
    worker.start()
    assert seen == [{core}]
    assert os.sched_getaffinity(0) == everywhere
