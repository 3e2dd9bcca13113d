"""The path of lists on demand without HTTP, in batches of the sizes that the API had.

    python -m benchmarks.api_direct USERS ITEMS

Settings come from the environment.
"""

import argparse
import asyncio
import time
from typing import Any

import msgspec
import numpy as np

from benchmarks.contender import answer
from benchmarks.made_up import long_tailed
from serving.narrowed import Shelf
from serving.on_demand import Question
from serving.on_demand import answer as answer_questions
from serving.parts import Parts
from serving.recommendation import AsOf
from stream.catalog_feed import CatalogFeed
from stream.interpreter import spare_what_is_loaded, switch_soon
from stream.settings import Settings
from stream.worker import build_parts

NAMED = 50
KEPT_AT_ONCE = 64


class Direct:
    """The parts of a worker, asked without a server.

    Args:
        users, items: how many there are.
    """

    def __init__(self, users: int, items: int) -> None:
        self._users, self._items = users, items
        self._runner = asyncio.Runner()
        switch_soon()
        self._parts: Parts = self._runner.run(self._open())
        self._shelf = Shelf(self._parts.catalog)
        self._chance = np.random.default_rng(6)
        spare_what_is_loaded()

    async def _open(self) -> Parts:
        settings = Settings()
        parts = build_parts(settings)
        await parts.store.open()
        feed = CatalogFeed(settings, parts.catalog, parts.new_item_vectors)
        await feed.read_whole()
        await feed.stop()
        await parts.candidates.refresh_popular()
        return parts

    def task(self, kind: str, **more: Any) -> dict[str, Any]:
        """One task of the benchmark."""
        run = self._keep() if kind == "keep" else self._measure(**more)
        return self._runner.run(run)

    async def _keep(self) -> dict[str, Any]:
        """Give every user a last list."""
        for start in range(0, self._users, KEPT_AT_ONCE):
            users = range(start, min(start + KEPT_AT_ONCE, self._users))
            questions = [Question(user_id=f"user-{user}") for user in users]
            found = await answer_questions(self._parts, self._shelf, questions)
            await self._parts.store.keep(
                [_kept(each, offset) for offset, each in zip(users, found, strict=True)]
            )
        return {"lists": self._users}

    async def _measure(self, sizes: list[int], seconds: float, named: bool) -> dict[str, Any]:
        """Lists a second, wall and processor time, in batches of these sizes, over and over."""
        lists, at = 0, 0
        end = (start := time.perf_counter()) + seconds
        cpu_start = time.process_time()
        while time.perf_counter() < end:
            questions = [self._question(named) for _ in range(sizes[at % len(sizes)])]
            for each in await answer_questions(self._parts, self._shelf, questions):
                msgspec.json.encode(each)
            lists, at = lists + len(questions), at + 1
        return {
            "per_s": lists / (time.perf_counter() - start),
            "cpu_ms_a_list": (time.process_time() - cpu_start) * 1000 / lists,
        }

    def _question(self, named: bool) -> Question:
        user = f"user-{int(self._chance.integers(self._users))}"
        if not named:
            return Question(user_id=user)
        items = dict.fromkeys(long_tailed(self._chance, self._items, NAMED))
        return Question(user_id=user, items=tuple(f"item-{each}" for each in items))


def _kept(each: Any, offset: int) -> Any:
    from serving.recommendation import Recommendation, recommendation_id

    place = AsOf("events", 0, offset)
    return Recommendation(
        rec_id=recommendation_id(each.user_id, place, each.bundle),
        user_id=each.user_id,
        event_id="benchmark",
        ts=each.ts,
        as_of=place,
        bundle=each.bundle,
        items=each.items,
        step_ms=each.step_ms,
    )


def main() -> None:
    """Answer the benchmark until it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", type=int)
    parser.add_argument("items", type=int)
    asked = parser.parse_args()
    answer(Direct(asked.users, asked.items).task)


if __name__ == "__main__":
    main()
