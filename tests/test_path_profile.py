"""The profile of the path tells of each step and trip, and its parts make its total."""

import pytest

from tests.printed_figures import figures_of

STEPS = {"decode", "profiles", "candidates", "rank", "rerank", "encode", "keep", "other"}


def test_every_step_and_trip_is_told() -> None:
    """On a small bundle: the pinned one takes a while to be made."""
    arguments = ["--events=96", "--batch=32", "--users=20", "--items=200", "--pace=5"]
    told = figures_of("path_profile", *arguments)
    assert told["arguments"] == " ".join(["--json", *arguments])
    steps, trips, total = told["steps"], told["trips"], told["total"]
    assert set(steps) == STEPS
    assert set(trips) == {"merge", "count", "rows", "keep"}
    assert 0 < told["lists"] <= told["events"] == 96
    assert all(trip["wall_us"] > 0 and trip["calls"] > 0 for trip in trips.values())
    assert trips["keep"]["calls"] == pytest.approx(told["lists"] / 96, abs=1e-3)
    spent = sum(step["client_us"] for step in steps.values())
    assert spent == pytest.approx(total["client_us"], rel=1e-3)
    assert trips["merge"]["wall_us"] <= steps["profiles"]["wall_us"]
    assert total["client_us"] > 0 < total["server_us"]
