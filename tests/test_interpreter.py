"""How Python is set in a worker: what is loaded is no garbage, and threads take turns soon."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import uvloop
from threadpoolctl import threadpool_info, threadpool_limits

from stream.interpreter import (
    SWITCH_S,
    YOUNG,
    multiply_on_one_thread,
    run_loops_in_c,
    spare_what_is_loaded,
    switch_soon,
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    policy = asyncio.get_event_loop_policy()
    yield
    asyncio.set_event_loop_policy(policy)
    sys.setswitchinterval(interval)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


def looked_at(each: object) -> bool:
    return any(found is each for found in gc.get_objects())


def test_only_what_came_later_is_looked_at() -> None:
    loaded: list[object] = [object()]
    assert looked_at(loaded)
    spare_what_is_loaded()
    later: list[object] = [object()]
    assert looked_at(later)
    assert not looked_at(loaded)
    assert gc.get_threshold()[0] == YOUNG


class Node:
    """Points to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_that_was_there_is_not_kept_for_ever() -> None:
    gc.disable()
    node = Node()
    gone = weakref.ref(node)
    del node
    assert gone() is not None
    spare_what_is_loaded()
    assert gone() is None


def test_a_thread_does_not_wait_long_for_another() -> None:
    switch_soon()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    assert SWITCH_S < 0.005, "Python's own"


def threads_of_products() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_products_are_made_by_who_asks_for_them() -> None:
    assert float(np.ones((2, 2)).trace()) == 2.0, "numpy and its library are loaded"
    with threadpool_limits(2, user_api="blas"):
        assert set(threads_of_products()) == {2}
        multiply_on_one_thread()
        assert set(threads_of_products()) == {1}


def test_event_loops_that_are_made_later_are_those_of_libuv() -> None:
    run_loops_in_c()
    loop = asyncio.new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
