"""Many trips to Redis: it is at work on the next ones while the replies of one are read."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from serving.store import Store

AT_ONCE = 2
"""Trips under way: one that the server works on, and one behind it."""
T = TypeVar("T")


async def all_of(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What steps side by side give. Raises the first error, and not before all have ended: none
    may be under way any more when they are made again."""
    found: list[T] = []
    for outcome in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        found.append(outcome)
    return found


async def run_trips(
    store: Store,
    trips: Iterable[tuple[T, Sequence[tuple[Any, ...]]]],
    take: Callable[[T, list[Any]], None] = lambda about, replies: None,
    *,
    at_once: int = AT_ONCE,
) -> None:
    """Make one trip after the other; the next one is packed while others are under way.

    Args:
        store: that makes them.
        trips: what each is about, and its calls (``Store.run``); taken one by one.
        take: called with what a trip was about and its replies, in the order of the trips.
        at_once: trips under way; more than one may come to the server in another order.

    Raises:
        What ``Store.run`` raises; no trip is under way any more then.
    """
    under_way: deque[tuple[T, asyncio.Task[list[Any]]]] = deque()
    try:
        for about, calls in trips:
            if len(under_way) == at_once:
                await _take_first(under_way, take)
            under_way.append((about, asyncio.create_task(store.run(calls))))
            await asyncio.sleep(0)  # it is on its way before more is packed
        while under_way:
            await _take_first(under_way, take)
    finally:
        left = [trip for _, trip in under_way]
        for trip in left:
            trip.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _take_first(
    under_way: deque[tuple[T, asyncio.Task[list[Any]]]], take: Callable[[T, list[Any]], None]
) -> None:
    about, trip = under_way[0]
    replies = await trip
    del under_way[0]  # not before: whoever is cancelled meanwhile ends it, too
    take(about, replies)
