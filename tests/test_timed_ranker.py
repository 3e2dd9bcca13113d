"""Runs of several threads take turns, and none waits for ever behind one that hangs."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import serving.timed_ranker
from model.bundle import load_bundle
from model.features import Interactions
from serving.buckets import Bucket
from serving.execution import Execution
from serving.ranker import RankerError, Scores
from serving.ranking_session import RankingSession
from serving.timed_ranker import TimedRanker
from tests.faulty_session import spoil
from tests.stage import GUARD_S
from tests.tiny import tiny_bundle

ITEMS = [f"item {number}" for number in range(30)]
NOBODY = Interactions(np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, np.int64))


@pytest.fixture
def ranker(tmp_path: Path) -> TimedRanker:
    tiny_bundle(tmp_path / "bundle", ITEMS)
    bundle = load_bundle(tmp_path / "bundle")
    return TimedRanker(bundle, Execution("cpu"), timeout_s=GUARD_S)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def rank(ranker: TimedRanker) -> Scores:
    bias = np.zeros(len(ITEMS) + 2, np.float32)
    return ranker.rank([NOBODY], np.arange(2, 5)[None], bias, None)


def test_the_time_of_a_run_begins_when_its_turn_has_come(
    ranker: TimedRanker, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    both_wait = threading.Barrier(2)

    class TimedFuture(Future[Scores]):
        """Of which the time is the test's own."""

        def result(self, timeout: float | None = None) -> Scores:
            begun_s = now_s
            found = super().result(GUARD_S)
            if timeout is not None and now_s - begun_s > timeout:
                raise TimeoutError
            return found

    def take_most_of_the_time(inputs: object) -> None:
        nonlocal now_s
        # Time for the other to get in line; none at all would only make this test less strict.
        threading.Event().wait(0.05)
        now_s += 0.8

    def one_of_two() -> Scores:
        both_wait.wait(GUARD_S)
        return rank(ranker)

    monkeypatch.setattr(serving.timed_ranker, "Future", TimedFuture)
    ranker._timeout_s = 1.0
    spoil(ranker, take_most_of_the_time)
    runs = [threads.submit(one_of_two) for _ in range(2)]
    for run in runs:
        assert run.result(GUARD_S).candidate_scores.shape == (1, 3)
    assert now_s == 1.6


def test_a_run_behind_one_that_hangs_fails_when_its_turn_comes(
    ranker: TimedRanker, threads: ThreadPoolExecutor
) -> None:
    going_on, begun = threading.Event(), list[int]()

    def hang(inputs: object) -> None:
        begun.append(1)
        assert going_on.wait(GUARD_S)

    ranker._timeout_s = 0.3
    mend = spoil(ranker, hang)
    try:
        runs = [threads.submit(rank, ranker) for _ in range(2)]
        faults = sorted(str(run.exception(GUARD_S)) for run in runs)
        assert "a run of 1 users is not done after 0.3 s" in faults[0]
        assert faults[1] == "a run that was given up after 0.3 s has not ended yet"
        with pytest.raises(RankerError, match="has not ended yet"):
            rank(ranker)
    finally:
        mend()
        going_on.set()
    assert begun == [1]
    overdue = ranker._overdue
    assert overdue is not None
    overdue.result(GUARD_S)
    ranker._timeout_s = GUARD_S
    assert rank(ranker).candidate_scores.shape == (1, 3), "once it has ended, runs are made again"


def test_all_runs_are_made_in_one_thread(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CUDA has recorded in one thread is not played back in another."""
    seen: list[threading.Thread] = []
    warm = RankingSession.warm

    def noted(session: RankingSession, bucket: Bucket) -> None:
        seen.append(threading.current_thread())
        warm(session, bucket)

    monkeypatch.setattr(RankingSession, "warm", noted)
    tiny_bundle(tmp_path / "bundle", ITEMS)
    ranker = TimedRanker(load_bundle(tmp_path / "bundle"), Execution("cpu"), timeout_s=GUARD_S)
    spoil(ranker, lambda inputs: seen.append(threading.current_thread()))
    rank(ranker)
    threads.submit(rank, ranker).result(GUARD_S)
    assert len(seen) > 3
    assert {thread.name for thread in seen} == {"ranker"}
    assert len(set(seen)) == 1


async def test_runs_beside_the_loop_are_made_in_the_thread_of_all_runs(
    ranker: TimedRanker,
) -> None:
    seen = await asyncio.gather(*(ranker.beside(threading.current_thread, 1) for _ in range(3)))
    assert {thread.name for thread in seen} == {"ranker"}


async def test_a_run_beside_the_loop_that_hangs_fails_in_time_and_so_do_the_next(
    ranker: TimedRanker,
) -> None:
    going_on = threading.Event()
    ranker._timeout_s = 0.1
    hanging = [ranker.beside(lambda: going_on.wait(GUARD_S), 2) for _ in range(2)]
    late, behind = await asyncio.gather(*hanging, return_exceptions=True)
    assert "a run of 2 users is not done after 0.1 s" in str(late)
    assert str(behind) == "a run that was given up after 0.1 s has not ended yet"
    overdue = ranker._overdue
    assert overdue is not None
    going_on.set()
    assert overdue.result(GUARD_S)
    ranker._timeout_s = GUARD_S
    assert await ranker.beside(lambda: "made", 1) == "made", "once it has ended, runs are made"


async def test_who_gives_up_waiting_for_a_run_leaves_it_to_be_waited_out(
    ranker: TimedRanker,
) -> None:
    going_on, has_begun = threading.Event(), threading.Event()

    def hang() -> None:
        has_begun.set()
        going_on.wait(GUARD_S)

    waiting = asyncio.create_task(ranker.beside(hang, 1))
    # One that is given up in the line would never be made.
    assert await asyncio.to_thread(has_begun.wait, GUARD_S)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RankerError, match="has not ended yet"):
        await ranker.beside(lambda: None, 1)
    going_on.set()


async def test_the_next_run_begins_while_the_loop_is_busy(ranker: TimedRanker) -> None:
    going_on, has_begun = threading.Event(), threading.Event()
    runs = [
        asyncio.create_task(ranker.beside(run, 1))
        for run in (lambda: going_on.wait(GUARD_S), has_begun.set)
    ]
    await asyncio.sleep(0)
    going_on.set()
    assert has_begun.wait(GUARD_S)  # in the thread of the loop, which turns no more
    await asyncio.gather(*runs)


async def test_a_run_that_is_given_up_in_the_line_is_not_made(ranker: TimedRanker) -> None:
    going_on, made = threading.Event(), list[int]()
    first = asyncio.create_task(ranker.beside(lambda: going_on.wait(GUARD_S), 1))
    second = asyncio.create_task(ranker.beside(lambda: made.append(1), 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert not ranker.is_overdue
    going_on.set()
    assert await first
    assert await ranker.beside(lambda: "made", 1) == "made"
    assert made == []
