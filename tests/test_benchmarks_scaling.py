"""The benchmark of scaling: costs at each size, and the slope that is fitted to them."""

from pathlib import Path

import pytest

from benchmarks.scaling import CURVES, growth
from tests.printed_figures import figures_of, run_benchmark


def test_a_list_costs_something_at_every_size(tmp_path: Path) -> None:
    found = figures_of(
        "scaling", "--only=users", "--sizes=50,400", "--rounds=1", "--seconds=0.05",
        f"--plots={tmp_path}",
    )  # fmt: skip
    assert set(found["users"]["us_per_list"]) == {"50", "400"}
    assert min(found["users"]["cpu_us_per_list"].values()) > 0
    assert min(found["users"]["rss_mb"].values()) > 0
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


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
