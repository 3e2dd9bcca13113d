"""Many trips to Redis: in order, no more at once than allowed, and none left behind by an error."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from serving.store import Store
from serving.trips import all_of, run_trips


class SlowStore(Store):
    """A fake: answers when it is told to, so that what is under way can be looked at."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Event] = {}
        self.most = 0
        self.ended: list[str] = []

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        name = calls[0][0]
        answer = self.under_way[name] = asyncio.Event()
        self.most = max(self.most, len(self.under_way))
        try:
            await answer.wait()
        finally:
            del self.under_way[name]
            self.ended.append(name)
        if name == "broken":
            raise OSError(name)
        return [name.upper()]

    async def started(self, *names: str) -> None:
        while not self.under_way.keys() >= set(names):
            await asyncio.sleep(0)

    def answer(self, name: str) -> None:
        self.under_way[name].set()


def trips(names: str, packed: list[str]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for name in names.split():
        packed.append(name)
        yield name, [(name,)]


async def test_replies_come_in_the_order_of_the_trips() -> None:
    store, taken, packed = SlowStore(), list[tuple[str, list[Any]]](), list[str]()
    run = asyncio.create_task(
        run_trips(store, trips("a b c", packed), lambda *each: taken.append(each))
    )
    await store.started("a", "b")
    assert packed == ["a", "b", "c"]  # one is packed while two are under way
    store.answer("b")
    await asyncio.sleep(0)
    assert taken == []
    store.answer("a")
    await store.started("c")
    assert taken[:1] == [("a", ["A"])]
    store.answer("c")
    await run
    assert taken == [("a", ["A"]), ("b", ["B"]), ("c", ["C"])]
    assert store.most == 2


async def test_trips_that_may_not_overtake_each_other_are_made_one_by_one() -> None:
    store, packed = SlowStore(), list[str]()
    run = asyncio.create_task(run_trips(store, trips("a b c", packed), at_once=1))
    for name, ahead in (("a", ["a", "b"]), ("b", ["a", "b", "c"]), ("c", ["a", "b", "c"])):
        await store.started(name)
        assert packed == ahead
        store.answer(name)
    await run
    assert (store.most, store.ended) == (1, ["a", "b", "c"])


async def test_an_error_leaves_no_trip_under_way() -> None:
    store, packed = SlowStore(), list[str]()
    run = asyncio.create_task(run_trips(store, trips("broken b c d", packed)))
    await store.started("broken", "b")
    store.answer("broken")
    with pytest.raises(OSError, match="broken"):
        await run
    assert not store.under_way
    assert "d" not in packed


async def test_whoever_is_cancelled_leaves_no_trip_under_way() -> None:
    store = SlowStore()
    run = asyncio.create_task(run_trips(store, trips("a b c", [])))
    await store.started("a", "b")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not store.under_way


async def test_the_first_error_of_all_comes_when_all_have_ended() -> None:
    ended: list[int] = []

    async def step(turns: int, error: Exception | None = None) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(turns)
        if error is not None:
            raise error
        return turns

    assert await all_of([step(3), step(1)]) == [3, 1]
    ended.clear()
    with pytest.raises(ValueError, match="first"):
        await all_of([step(5), step(2, ValueError("first")), step(1, OSError("second"))])
    assert ended == [1, 2, 5]
