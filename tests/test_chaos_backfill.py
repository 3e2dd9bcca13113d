"""The killed backfill itself: a short run of it, and what it compares by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from rich.console import Console

from serving.profile import Profile
from tests.chaos.backfill import SHORT, run
from tests.chaos.replay_process import SABOTAGES
from tests.chaos.stored import compared, stored

QUIET = Console(quiet=True)


def test_kills_leave_what_an_undisturbed_build_leaves(tmp_path: Path) -> None:
    report = run(SHORT, tmp_path, QUIET)
    assert report.verdicts == []
    assert (report.events, report.kills) == (SHORT.events, SHORT.kills)


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_build_that_is_broken_turns_it_red(tmp_path: Path, sabotage: str) -> None:
    report = run(replace(SHORT, sabotage=sabotage), tmp_path, QUIET)
    assert SABOTAGES[sabotage].red_check in report.red_checks


def test_a_byte_of_a_profile_and_a_weight_of_a_count_are_differences(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        for prefix, item in (("one", b"a"), ("two", b"b")):
            profile = Profile(interactions=item * 19).pack()
            redis.set(f"{prefix}:{{u}}:profile.1", profile + prefix.encode())
            redis.set(f"{prefix}:{{v}}:profile.1", Profile(queries=b"q" * 60).pack())
            redis.zadd(f"{prefix}:count:g1h14of4:{{0}}:popular", {"x": 1 + ord(item)})
            redis.hset(f"{prefix}:count:g1h14of4:{{0}}:offsets", "at", item)
        found = compared(*[stored(redis, prefix) for prefix in ("one", "two")])
    assert {each.check: (each.compared, each.count) for each in found} == {
        "profiles": (2, 1),
        "counts": (1, 1),
        "identities": (0, 0),
    }
