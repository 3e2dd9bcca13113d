"""The benchmark of the pipeline: every contender does its job, and the figures add up."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from redis import Redis

from benchmarks import latency, pipeline, scaling
from benchmarks.backlog import POPULAR_KEY, Crowd, fill_profiles
from benchmarks.contender import ONE_THREAD
from benchmarks.pace import Pace, PaceError, Sample, pace_of
from benchmarks.pinned import pinned_bundle
from benchmarks.pipeline import QUIXSTREAMS, TURNS, Field
from benchmarks.pipeline_figures import figures
from benchmarks.plain_job import PlainJob
from benchmarks.scaling_contender import Recommender, open_parts
from model.signals import POPULAR
from serving.candidates import CandidateSources, CandidateTable
from serving.list_request import RequestTable
from stream.settings import Settings
from tests.printed_figures import figures_of, run_benchmark

SMALL = "--broker=embedded", "--items=200", "--users=300", "--seconds=0.5", "--rounds=1"


def test_the_worker_and_a_job_on_stock_faust_make_lists_of_one_backlog() -> None:
    found = figures_of(
        "pipeline", *SMALL, "--events=30000", "--only=transport,full,aiokafka,stock_faust_job"
    )
    assert set(found["contenders"]) == {
        "transport", "full", "aiokafka", "stock_faust_job", "model",
    }  # fmt: skip
    for each in found["contenders"].values():
        assert each.get("events_per_s", each.get("lists_per_s")) > 0
    assert found["recommendations_per_s"] <= found["events_per_s"]
    assert found["full_vs_stock_faust_job"] > 0
    assert found["transport_vs_aiokafka"] > 0
    assert "transport_vs_stock_faust" not in found  # it did not run
    assert sum(step["share"] for step in found["steps"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.kafka
@pytest.mark.skipif(
    not (QUIXSTREAMS / "quixstreams").is_dir(), reason=f"{QUIXSTREAMS} has no quixstreams"
)
def test_quix_streams_does_the_job_too() -> None:
    found = figures_of(
        "pipeline", *SMALL, "--broker=kafka", "--events=3000", "--only=quixstreams_job"
    )
    assert found["contenders"]["quixstreams_job"]["lists_per_s"] > 0
    assert found["left_out"] == {}


def test_what_cannot_run_is_said_to_be_left_out() -> None:
    found = figures_of("pipeline", *SMALL, "--events=30000", "--only=plain_set")
    assert found["left_out"] == {"quixstreams_job": "it needs --broker kafka"}
    assert found["contenders"]["plain_set"]["events_per_s"] > 0


def test_an_unknown_contender_is_refused() -> None:
    run = run_benchmark("pipeline", *SMALL, "--only=full,flink")
    assert run.returncode == 2
    assert "there is no flink; there are transport, profiles, candidates" in run.stderr


@pytest.mark.parametrize("benchmark", [pipeline, latency, scaling])
def test_every_run_has_one_thread(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's worker too, which inherits the environment."""
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "7")
    seen: list[dict[str, str]] = []

    def measure(_: argparse.Namespace) -> dict[str, Any]:
        seen.append(dict(os.environ))
        return {}

    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    benchmark.main()
    assert seen[0].items() >= ONE_THREAD.items()


ITEMS, USERS = 200, 300


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(bundle=pinned_bundle(ITEMS), provider="cpu", redis_url=redis_url)


async def candidates_of_turns(
    settings: Settings, turns: int, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """Mean candidates a list of each micro-batch of 64 that a worker would gather."""
    means: list[float] = []
    gather = CandidateSources.gather

    async def counted(sources: CandidateSources, requests: RequestTable) -> CandidateTable:
        table = await gather(sources, requests)
        means.append(sum(len(each.rows) for each in table) / len(table))
        return table

    monkeypatch.setattr(CandidateSources, "gather", counted)
    parts = await open_parts(settings, ITEMS)
    recommender = Recommender(parts, Crowd(USERS, ITEMS))
    for _ in range(turns):
        await recommender.turn(batch=64, seconds=0.0)
    await parts.store.redis.aclose()
    return means


def test_a_turn_begins_with_popular_candidates(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a worker, which reads them when it starts, and for the plain jobs."""
    means: list[float] = []

    def turn(field: Field, number: int) -> Pace:
        means.extend(asyncio.run(candidates_of_turns(settings, 1, monkeypatch)))
        return pace(1)

    monkeypatch.setitem(TURNS, "full", turn)
    asked = argparse.Namespace(
        users=USERS, items=ITEMS, broker="embedded", only="full", quixstreams=QUIXSTREAMS
    )
    Field(asked, settings, tmp_path).take("full", 0)
    (mean,) = means
    assert mean >= 50
    with Redis.from_url(settings.redis_url) as redis:
        assert redis.zcard(POPULAR_KEY) >= POPULAR


async def test_what_was_popular_a_turn_ago_is_a_candidate(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(fill_profiles, settings, Crowd(USERS, ITEMS))
    first, *others = await candidates_of_turns(settings, 4, monkeypatch)
    assert max(others) > first + 30


def samples(*done: int) -> Iterator[Sample]:
    """One a second."""
    return ({"at": float(at), "cpu_s": at / 2, "done": float(n)} for at, n in enumerate(done))


def test_a_pace_begins_with_the_first_event_and_ends_in_time() -> None:
    first, last = pace_of(samples(0, 0, 10, 30, 60, 90), seconds=2, total=1000, patience_s=9)
    assert (first["done"], last["done"]) == (10, 60)


def test_the_end_of_the_backlog_is_not_part_of_a_pace() -> None:
    first, last = pace_of(samples(10, 50, 100, 100), seconds=9, total=100, patience_s=9)
    assert (first["done"], last["done"]) == (10, 50)


def test_a_slow_contender_is_given_time_for_its_second_batch() -> None:
    first, last = pace_of(samples(0, 64, 64, 64, 64, 128), seconds=2, total=1000, patience_s=9)
    assert (first["at"], last["at"]) == (1, 5)


def test_patience_ends() -> None:
    with pytest.raises(PaceError, match="done is 0 after 3 s"):
        pace_of(samples(*[0] * 9), seconds=2, total=1000, patience_s=3)
    with pytest.raises(PaceError, match="done is 7 after 3 s"):
        pace_of(samples(0, 0, 0, *[7] * 9), seconds=2, total=1000, patience_s=3)


@pytest.mark.parametrize("done", [(), (0, 0), (5,), (5, 5, 5)])
def test_a_contender_that_does_nothing_has_no_pace(done: tuple[int, ...]) -> None:
    with pytest.raises(PaceError, match="it ended"):
        pace_of(samples(*done), seconds=9, total=100, patience_s=9)


def pace(per_s: float, **others: float) -> Pace:
    """One second of work."""
    return Pace({"at": 1.0, "cpu_s": 0.5, "done": per_s, "lists": per_s, **others}, 100.0)


def test_ratios_are_medians_of_the_rounds_ratios() -> None:
    rounds = [
        {"full": pace(100 * n, batches=5), "stock_faust_job": pace(10 * n * n)} for n in (1, 2, 4)
    ]
    raw = [{"batch": 20, "ms": 100.0, "cpu_ms": 50.0}] * 3  # 200 lists a second
    found = figures(rounds, raw)
    assert found["full_vs_stock_faust_job"] == 5.0
    assert found["full_vs_model"] == 1.0
    assert found["recommendations_per_s"] == 200
    assert found["cpu_us_per_list_beside_the_model"] == 0  # 2,500 of a list, and as many of a run
    assert "full_vs_quixstreams_job" not in found


def test_ingest_is_held_against_the_slower_contender() -> None:
    rounds = [{"ingest": pace(50), "aiokafka": pace(100), "plain_set": pace(200)}]
    assert figures(rounds, [])["ingest_vs_plain_set"] == 0.5


def test_a_past_is_made_up_before_the_plain_job_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(users=100, items=200)
    job = PlainJob(pinned_bundle(200), crowd)
    made_up = {user: crowd.past(user, 1_780_000_000_000) for user in (3, 99)}
    monkeypatch.setattr("benchmarks.backlog.long_tailed", None)  # cannot be called
    for user, clicks in made_up.items():
        past = job.past(f"user-{user}", 1_780_000_000_000)
        assert past == [(click.item_id, click.time) for click in clicks]
        assert len(past) == crowd.past_events


def test_the_plain_job_ranks_what_it_has_counted() -> None:
    job = PlainJob(pinned_bundle(200), Crowd(users=10, items=200))
    event: dict[str, Any] = {
        "user_id": "user-3",
        "event_id": "e",
        "item_id": "item-7",
        "ts": 1_780_000_000_000,
    }
    history = job.learned(job.past("user-3", event["ts"]), event)
    assert history[-1] == ("item-7", event["ts"])
    together = [("ZINCRBY", "plain:with:item-7", 1, history[-2][0])]
    close = job.learned([(history[-2][0], event["ts"] - 1)], event)
    assert [c for c in job.counting(close) if c[1] == "plain:with:item-7"] == together
    found: list[Any] = [[(b"item-9", 1e6)], *([[]] * (len(job.asking(history)) - 1))]
    made = job.recommendation(event, history, found)
    assert len(made["items"]) == 10
    assert "item-7" not in {each["item_id"] for each in made["items"]}
    scores = [each["score"] for each in made["items"]]
    assert scores == sorted(scores, reverse=True)
