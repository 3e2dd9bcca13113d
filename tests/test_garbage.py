"""What is loaded when a worker starts is never looked at by the garbage collector again."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from stream.garbage import YOUNG, spare_what_is_loaded


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
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
