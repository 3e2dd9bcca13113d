"""A worker's liveness from other threads: what it tells, and what the watchdog does of it."""

import logging
import threading

import pytest

from stream.liveness import Liveness
from stream.watchdog import Watchdog
from stream.worker_process import STALLED
from tests.stage import gauge, lines, until

STALL = ("a rebalance has not ended for 150 s",)


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_event_loop_that_does_not_run_is_a_cause() -> None:
    clock = Clock()
    liveness = Liveness(150, clock)
    clock.now = 900
    assert not liveness.causes, "it has not begun to run"
    liveness.beat()
    clock.now += 149
    assert not liveness.causes
    clock.now += 1
    assert list(liveness.causes) == ["the event loop has not run for 150 s"]
    liveness.tell(STALL)
    assert list(liveness.causes) == ["the event loop has not run for 150 s", *STALL]
    liveness.beat()
    assert list(liveness.causes) == list(STALL)
    liveness.close()
    assert not liveness.causes, "who stops it sees to its end"


async def test_a_stall_is_told_once_and_ends_the_worker_where_that_is_wanted(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, "stream.watchdog")
    ended: list[int] = []
    liveness = Liveness(150)
    liveness.beat()

    def end(status: int) -> None:
        ended.append(status)
        watchdog._stop.set()  # who has ended looks no more

    watchdog = Watchdog(liveness, 0.01, ends=True, end=end)
    try:
        liveness.tell(STALL)
        await until(lambda: ended)
        assert gauge("stalled") == 1
    finally:
        watchdog.stop()
    assert ended == [STALLED]
    assert lines(caplog, "stalled") == [
        f"the worker has stalled and ends, to be started again: {STALL[0]}"
    ]
    assert "most recent call first" in capfd.readouterr().err


async def test_a_stall_that_ends_by_itself_is_told_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "stream.watchdog")
    must_not, liveness = threading.Event(), Liveness(150)
    liveness.beat()
    watchdog = Watchdog(liveness, 0.01, ends=False, end=lambda status: must_not.set())
    try:
        liveness.tell(STALL)
        await until(lambda: lines(caplog, "has to be started again"))
        liveness.tell(())
        await until(lambda: lines(caplog, "the worker goes on"))
        await until(lambda: gauge("stalled") == 0)  # a freeze of this process is told as an end too
    finally:
        watchdog.stop()
    assert not must_not.is_set()
