"""The benchmark of the HTTP API: that it measures, not how fast the machine is."""

import json
import subprocess
import sys

import pytest

from benchmarks.api import _sizes


def test_last_lists_and_lists_on_demand_are_answered() -> None:
    command = [sys.executable, "-m", "benchmarks.api", "--json", "--users=50", "--items=300"]
    command += ["--rate=50", "--seconds=1", "--rounds=1", "--callers=4", "--named"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["last_list_requests"] == 50
    assert found["last_list_errors"] == found["on_demand_errors"] == 0
    assert found["on_demand_per_s"] > 0
    assert found["direct_per_s"] > 0
    assert 1 <= found["batch_sizes"] <= 4


def test_batch_sizes_are_those_of_the_buckets() -> None:
    before = {1.0: 10.0, 2.0: 10.0, 4.0: 10.0, float("inf"): 10.0}
    after = {1.0: 110.0, 2.0: 110.0, 4.0: 210.0, float("inf"): 210.0}
    sizes = _sizes(before, after, questions=100 * 1 + 100 * 3)
    assert set(sizes) <= {1, 3}
    assert sum(sizes) / len(sizes) == pytest.approx(2, abs=0.01)
