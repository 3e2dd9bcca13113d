"""The benchmark of latency: every event is answered, from its scheduled moment on."""

import threading
from collections import defaultdict

from benchmarks.latency_load import Heard, Listener
from serving.recommendation import AsOf
from tests.printed_figures import figures_of


def test_every_event_of_an_open_loop_is_answered() -> None:
    found = figures_of(
        "latency", "--broker=embedded", "--items=200", "--users=300", "--burst=400",
        "--levels=10,50", "--seconds=0.5", "--rounds=1",
    )  # fmt: skip
    assert set(found["by_level"]) == {"10", "50"}
    for each in found["by_level"].values():
        assert 0 < each["p50_ms"] <= each["p90_ms"] <= each["p99_ms"] <= each["p99.9_ms"]
        assert each["p99.9_ms"] <= each["max_ms"]
        assert each["events"] > 0
    assert found["p50_ms_at_50"] == found["by_level"]["50"]["p50_ms"]
    assert found["saturation_events_per_s"] > 0
    assert found["rss_mb"] > 0


def listener() -> Listener:
    """One that no broker tells anything."""
    one = Listener.__new__(Listener)
    threading.Thread.__init__(one)
    one.offsets, one.times = defaultdict(list), defaultdict(list)
    return one


def test_an_event_is_answered_by_the_first_list_that_has_seen_it() -> None:
    heard = listener()
    for offset, at in ((4, 1.0), (9, 2.0), (9, 3.0), (5, 4.0)):  # a copy, and an older list
        heard._note(Heard("ann", AsOf("events", 0, offset)), at)
    assert heard.answered_at("ann", 3) == 1.0
    assert heard.answered_at("ann", 5) == 2.0
    assert heard.answered_at("ann", 9) == 2.0
    assert heard.answered_at("ann", 10) is None
    assert heard.answered_at("bob", 0) is None
