"""How often a worker is woken to show that it runs."""

import asyncio
import contextlib
from typing import Any, cast

import pytest

from stream.assignment import Assignment
from stream.readiness import Readiness
from stream.self_watch import SelfWatch
from stream.settings import Settings
from stream.stall_watch import look_s


@pytest.mark.parametrize("stall_s", [6.0, 150.0, 3_600.0])
async def test_an_idle_event_loop_is_woken_as_seldom_as_anybody_looks(
    stall_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(stall_s=stall_s)
    watch = SelfWatch(settings, Readiness(), Assignment())
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise _Enough

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with contextlib.suppress(ExceptionGroup):
        await watch.run(cast(Any, None))
    assert slept == [look_s(settings)] * 3
    assert slept[0] <= stall_s / 15
    assert not watch.liveness.causes


class _Enough(Exception):
    """So many are seen."""
