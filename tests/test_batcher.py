"""Micro-batches of lists on demand: what is asked meanwhile, how many, and one that is at fault."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from serving import on_demand
from stream.api import batcher
from stream.settings import Settings
from tests.api_client import Api, open_api, prepare

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(stream_settings: Settings) -> AsyncIterator[Api]:
    await prepare(stream_settings)
    async with open_api(stream_settings) as opened:
        yield opened


async def test_what_is_asked_meanwhile_is_one_micro_batch(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker, runs = api.service.parts.ranker, []
    score = ranker.score

    def spied(*inputs: Any) -> Any:
        runs.append(len(inputs[1]))
        return score(*inputs)

    monkeypatch.setattr(ranker, "score", spied)
    questions = [api.post("/v1/recommendations", {"user_id": f"many-{at}"}) for at in range(20)]
    answers = await asyncio.gather(*questions)
    assert {each.status_code for each in answers} == {200}
    assert sum(runs) == 20
    assert len(runs) <= 3


async def test_a_micro_batch_holds_a_bounded_number_of_places(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "MOST_PLACES", 100)
    sizes: list[int] = []

    async def spied(parts: Any, shelf: Any, questions: Any) -> Any:
        sizes.append(len(questions))
        return await on_demand.answer(parts, shelf, questions)

    monkeypatch.setattr(batcher, "answer", spied)
    asked = [{"user_id": f"long-{at}", "count": 40} for at in range(9)]
    answers = await asyncio.gather(*(api.post("/v1/recommendations", each) for each in asked))
    assert {each.status_code for each in answers} == {200}
    assert sum(sizes) == 9
    assert max(sizes) == 2


async def test_one_question_at_fault_does_not_fail_the_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def poisoned(parts: Any, shelf: Any, questions: Any) -> Any:
        if any(each.user_id == "poison" for each in questions):
            raise ZeroDivisionError
        return await on_demand.answer(parts, shelf, questions)

    monkeypatch.setattr(batcher, "answer", poisoned)
    users = ["fine", "poison", "fine too"]
    answers = await asyncio.gather(
        *(api.post("/v1/recommendations", {"user_id": user}) for user in users)
    )
    assert [each.status_code for each in answers] == [200, 500, 200]


async def test_a_question_that_nobody_waits_for_any_more_is_not_answered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def spied(parts: Any, shelf: Any, questions: Any) -> Any:
        asked.extend(each.user_id for each in questions)
        begun.set()
        await go_on.wait()
        return await on_demand.answer(parts, shelf, questions)

    monkeypatch.setattr(batcher, "answer", spied)
    of = api.service.batcher
    first = asyncio.create_task(of.ask(on_demand.Question(user_id="first")))
    await begun.wait()
    given_up = asyncio.create_task(of.ask(on_demand.Question(user_id="given up")))
    await asyncio.sleep(0)
    given_up.cancel()
    last = asyncio.create_task(of.ask(on_demand.Question(user_id="last")))
    await asyncio.sleep(0)
    go_on.set()
    assert ((await first).user_id, (await last).user_id) == ("first", "last")
    assert asked == ["first", "last"]
