"""The benchmark of the console: that it measures, not how fast the machine is."""

import json
import subprocess
import sys

import pytest

from tests.chromium import chromium


def test_clicks_are_followed_until_their_lists_are_shown() -> None:
    if chromium() is None:
        pytest.skip("no browser is here: apt-get install chromium, as .ci/run does")
    command = [sys.executable, "-m", "benchmarks.console", "--json", "--clicks=5", "--items=300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["clicks"] == 5
    assert 0 < found["to_list_ms_p50"] < found["shown_ms_p50"] <= found["shown_ms_max"]
