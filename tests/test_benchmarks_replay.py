"""`benchmarks.replay`: a turn of a build in its own process, and what the turns come to."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.performance_plots import write_plot
from benchmarks.performance_tables import replay_section
from benchmarks.replay import bound, figures, take_turn
from benchmarks.replay_log import session_log, write_parquet
from stream.settings import Settings

EVENTS = 3_000
BALLAST_MB = 600
TURN = {
    "events_per_s": 50_000.0, "events_per_cpu_s": 100_000.0, "client_us_per_event": 10.0,
    "redis_us_per_event": 18.4, "peak_rss_mb": 400.0,
}  # fmt: skip


def test_a_turn_tells_the_memory_of_the_build_and_not_of_who_has_it_built(
    redis_url: str, tmp_path: Path
) -> None:
    parquet = tmp_path / "log.parquet"
    write_parquet(parquet, session_log(EVENTS, users=100, items=50, seed=1))
    ballast = b"x" * (BALLAST_MB << 20)
    found = take_turn("parquet", Settings(redis_url=redis_url), EVENTS, parquet)
    assert len(ballast) == BALLAST_MB << 20
    assert 50 < found["peak_rss_mb"] < BALLAST_MB
    assert found["redis_us_per_event"] > 0


def test_figures_are_ratios_of_the_turns(tmp_path: Path) -> None:
    bare = TURN | {"events_per_s": 100_000.0, "redis_us_per_event": 0.0}
    turns = {
        "kafka": TURN, "kafka_python": bare, "confluent": bare,
        "parquet": TURN | {"peak_rss_mb": 450.0},
    }  # fmt: skip
    found: dict[str, Any] = figures(turns)
    assert (found["ratio"], found["cpu_ratio"], found["peak_rss_mb"]) == (0.5, 1.0, 450.0)
    made = {"events": EVENTS, "users": 100, "rounds": 1}
    assert "makes 0.5 of the bare kafka-python" in replay_section(found | made)
    assert write_plot("replay", found, tmp_path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("redis_us", "name"), [(18.4, "redis"), (9.0, "client")])
def test_a_build_is_bound_by_whoever_spends_more(redis_us: float, name: str) -> None:
    assert bound(TURN | {"redis_us_per_event": redis_us}).startswith(name)
