"""How Python is set in a worker: what is loaded is no garbage, and threads take turns soon."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import uvloop
from threadpoolctl import threadpool_info, threadpool_limits

from stream.interpreter import (
    SWITCH_S,
    multiply_on_one_thread,
    run_loops_in_c,
    switch_soon,
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    interval = sys.getswitchinterval()
    policy = asyncio.get_event_loop_policy()
    yield
    asyncio.set_event_loop_policy(policy)
    sys.setswitchinterval(interval)


LOADED = """
import gc, weakref
from stream.interpreter import YOUNG, spare_what_is_loaded

class Node:
    def __init__(self):
        self.itself = self

def looked_at(each):
    return any(found is each for found in gc.get_objects())

gc.disable()
loaded, garbage = [object()], Node()
gone = weakref.ref(garbage)
del garbage
assert gone() is not None and looked_at(loaded)
spare_what_is_loaded()
later = [object()]
assert gone() is None, "garbage that was there is not kept for ever"
assert looked_at(later) and not looked_at(loaded), "only what came later is looked at"
assert gc.get_threshold()[0] == YOUNG
"""


def test_what_is_loaded_is_spared_and_garbage_is_not() -> None:
    # In a process of its own: what earlier tests have left is none of its.
    subprocess.run([sys.executable, "-c", LOADED], check=True)


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
