"""How Python is set in a worker: what is loaded is no garbage, and threads take turns soon."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from stream.interpreter import SWITCH_S, YOUNG, spare_what_is_loaded, switch_soon


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
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
