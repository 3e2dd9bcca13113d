"""Lists on demand in micro-batches: what is asked while one is made is the next one."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from serving import metrics
from serving.narrowed import Shelf
from serving.on_demand import MOST_ITEMS, Answer, Question, answer, fits_with, places
from serving.parts import Parts
from stream.readiness import part_at_fault

logger = logging.getLogger(__name__)

MOST_PLACES = 8 * MOST_ITEMS
"""On all lists of a micro-batch: what makes them keeps others from being answered meanwhile."""


class _Waiting(NamedTuple):
    question: Question
    answer: asyncio.Future[Answer]


class Batcher:
    """Answers questions, one micro-batch at a time.

    A micro-batch costs hardly more than a single list, so that under load each serves all callers
    that came while the one before was made.

    Args:
        parts: gives what to work with now: another generation may be live by the next list.
        most: questions in a micro-batch.
    """

    def __init__(self, parts: Callable[[], Parts], most: int) -> None:
        self._parts, self._most = parts, most
        self._shelf = Shelf(parts().catalog)
        self._waiting: deque[_Waiting] = deque()
        self._asked = asyncio.Event()

    async def ask(self, question: Question) -> Answer:
        """The answer to a checked question. Raises as ``serving.on_demand.answer`` does."""
        found: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(question, found))
        self._asked.set()
        return await found

    async def run(self) -> None:
        """Answer what is asked, for ever."""
        while True:
            await self._asked.wait()
            # What has arrived already may be read first.
            await asyncio.sleep(0)
            batch = self._take()
            if batch:
                await self._answer(batch)
            if not self._waiting:
                self._asked.clear()

    def _take(self) -> list[_Waiting]:
        """The oldest question and those behind it that fit it; nobody waits for the others."""
        waiting = [each for each in self._waiting if not each.answer.done()]
        if not waiting:
            self._waiting.clear()
            return []
        kind, room = fits_with(waiting[0].question), MOST_PLACES
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        for each in waiting:
            fits = len(batch) < self._most and fits_with(each.question) == kind
            if fits and (wanted := places(self._parts(), each.question)) <= room:
                batch.append(each)
                room -= wanted
            else:
                others.append(each)
        self._waiting = others
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        metrics.API_QUESTIONS.observe(len(batch))
        try:
            answers = await answer(self._parts(), self._shelf, [each.question for each in batch])
        except Exception as error:
            if len(batch) > 1 and part_at_fault(error) is None:
                # One of them may be to blame, and the others need not suffer for it.
                logger.warning(
                    "%d lists failed together (%s); one by one", len(batch), type(error).__name__
                )
                for each in batch:
                    await self._answer([each])
                return
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, made in zip(batch, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(made)
