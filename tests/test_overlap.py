"""Three micro-batches are in work at a time, and nobody can tell by what comes out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import stream.agents
from model.ids import item_hash
from serving.counts import Neighbours
from serving.parts import Parts
from serving.recommend import Outcome, Prepared, prepare
from serving.record import Record
from stream.agents import run_agent
from stream.embedded_redis import EmbeddedRedis
from stream.worker import Worker
from tests.faulty_session import spoil
from tests.parts import FakeRecord, click, records_of
from tests.stage import GUARD_S, PRESENT, Stage, open_stage, until

USERS = [f"user-{number}" for number in range(4)]
ITEMS = ["tea-1", "tea-2", "book-3", "book-4"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overlap") / "bundle"


@pytest.fixture
async def stage(
    redis_server: EmbeddedRedis, redis_url: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr("stream.readiness.LONGEST_WAIT_S", 0.2)
    async with open_stage(redis_server, bundle) as stage:
        yield stage


def clickers(item: str) -> list[str]:
    """Everybody, but of the second item USERS[0].

    Where a micro-batch is learnt again after its successor, the store has forgotten what it
    admitted of those who act in both, and still remembers what it admitted of this one.
    """
    return USERS[1:] if item == ITEMS[1] else USERS


def batches() -> list[list[FakeRecord]]:
    """One for each item."""
    clicks = [[click(user, item, PRESENT) for user in clickers(item)] for item in ITEMS]
    starts = accumulate(map(len, clicks), initial=0)
    return [records_of(each, first=first) for each, first in zip(clicks, starts, strict=False)]


@dataclass
class Agent:
    """The agent over micro-batches that a test hands out: a fake of Faust and its consumer."""

    stage: Stage
    max_batch: int = len(USERS)
    waiting: asyncio.Queue[list[FakeRecord]] = field(default_factory=asyncio.Queue)
    acknowledged: list[list[FakeRecord]] = field(default_factory=list)

    async def run(self) -> None:
        """As Faust does; until it is cancelled, or fails."""
        worker: Any = SimpleNamespace(
            ready=self._ready,
            settings=self.stage.settings.model_copy(update={"max_batch": self.max_batch}),
            publisher=self.stage.publisher,
            readiness=self.stage.readiness,
        )
        await run_agent(cast(Any, None), cast(Worker, worker))

    async def _ready(self) -> Any:
        return self

    @asynccontextmanager
    async def learning(self, number: int, places: object) -> AsyncIterator[Parts]:
        """As a generation that stays live."""
        yield self.stage.parts

    async def micro_batches(self, stream: object, most: int) -> AsyncIterator[list[Any]]:
        while True:
            records = await self.waiting.get()
            batch = SimpleNamespace(records=records, topic="events", partition=0)
            yield [SimpleNamespace(value=batch, message=SimpleNamespace(generation_id=1))]

    def ack(self, batch: Any) -> None:
        self.acknowledged.append(batch.value.records)


@pytest.fixture
def max_batch() -> int:
    """As many records as a micro-batch has, so that none is a small one."""
    return len(USERS)


@pytest.fixture
async def agent(
    stage: Stage, max_batch: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Agent]:
    made = Agent(stage, max_batch)
    monkeypatch.setattr(stream.agents, "micro_batches", made.micro_batches)
    monkeypatch.setattr(stream.agents, "ack", made.ack)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def assert_is_as_ever(agent: Agent) -> None:
    """All micro-batches are done: each click counted once, lists in the order of events."""
    parts = agent.stage.parts
    await until(lambda: len(agent.acknowledged) == len(ITEMS))
    assert agent.acknowledged == batches_of(agent.acknowledged)
    lists = await agent.stage.lists()
    for user in USERS:
        offsets = [each.as_of.offset for each in lists if each.user_id == user]
        assert offsets == sorted(set(offsets))
        assert len(offsets) == sum(user in clickers(item) for item in ITEMS)
        last = await parts.store.last_list(user)
        assert last is not None and last.as_of.offset == offsets[-1]
    clicked = {item_hash(item): len(clickers(item)) for item in ITEMS}
    unit = parts.counts.weight(PRESENT)
    popular = await parts.counts.popular()
    assert counted(popular, unit) == pytest.approx(clicked)
    for item, found in zip(clicked, await parts.counts.neighbours(list(clicked)), strict=True):
        assert counted(found, unit) == pytest.approx(
            {other: min(clicked[item], clicked[other]) for other in clicked if other != item}
        )


def counted(found: Neighbours, unit: float) -> dict[int, float]:
    """Clicks, or pairs of clicks, by item hash."""
    return dict(zip(found.items.tolist(), (found.weights / unit).tolist(), strict=True))


def batches_of(acknowledged: Sequence[Sequence[FakeRecord]]) -> list[Sequence[FakeRecord]]:
    """In the order of their offsets."""
    return sorted(acknowledged, key=lambda records: records[0].offset)


async def test_what_comes_next_is_learnt_while_one_is_ranked(agent: Agent) -> None:
    store, going_on, runs = agent.stage.parts.store, threading.Event(), [0]
    ranker = agent.stage.parts.ranker

    def hold(inputs: object) -> None:
        runs[0] += 1
        assert going_on.wait(GUARD_S)

    async def learnt() -> int:
        return len((await store.profile(USERS[-1])).history().items)

    spoil(ranker, hold)
    try:
        for records in batches():
            agent.waiting.put_nowait(records)
        while await learnt() < 3:
            await asyncio.sleep(0.01)
        # The fourth waits for the first, or memory would have no bound.
        await asyncio.sleep(0.1)
        assert await learnt() == 3
        assert (agent.acknowledged, runs, agent.waiting.qsize()) == ([], [1], 1)
    finally:
        going_on.set()
    await assert_is_as_ever(agent)


@pytest.mark.parametrize("max_batch", [100 * len(USERS)])
async def test_what_comes_after_a_small_one_waits_until_that_is_ranked(agent: Agent) -> None:
    store, going_on, runs = agent.stage.parts.store, threading.Event(), [0]

    def hold(inputs: object) -> None:
        runs[0] += 1
        assert going_on.wait(GUARD_S)

    spoil(agent.stage.parts.ranker, hold)
    try:
        for records in batches():
            agent.waiting.put_nowait(records)
        await until(lambda: runs[0] == 1)
        await asyncio.sleep(0.1)
        assert len((await store.profile(USERS[-1])).history().items) == 1
        assert agent.waiting.qsize() == len(ITEMS) - 1
    finally:
        going_on.set()
    await assert_is_as_ever(agent)


async def test_the_next_is_ranked_while_one_is_delivered(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, ranked, going_on = agent.stage, list[int](), asyncio.Event()
    send = stage.publisher.send

    def note(inputs: object) -> None:
        ranked.append(1)

    async def hold(outcome: Outcome) -> None:
        await going_on.wait()
        await send(outcome)

    spoil(stage.parts.ranker, note)
    monkeypatch.setattr(stage.publisher, "send", hold)
    for records in batches():
        agent.waiting.put_nowait(records)
    await until(lambda: len(ranked) == 2)
    assert agent.acknowledged == []
    going_on.set()
    await assert_is_as_ever(agent)
    assert len(ranked) == len(ITEMS), "nothing was ranked twice"


async def test_a_network_that_fails_changes_nothing(agent: Agent) -> None:
    ranker, failures = agent.stage.parts.ranker, [3]

    def fail(inputs: object) -> None:
        if failures[0]:
            failures[0] -= 1
            raise RuntimeError("a bad day")

    spoil(ranker, fail)
    for records in batches():
        agent.waiting.put_nowait(records)
    await assert_is_as_ever(agent)
    assert failures == [0]


async def test_a_broker_that_is_away_changes_nothing(agent: Agent) -> None:
    agent.stage.broker.down()
    for records in batches():
        agent.waiting.put_nowait(records)
    await until(lambda: agent.stage.readiness.waiting_for)
    assert agent.acknowledged == []
    agent.stage.broker.up()
    await assert_is_as_ever(agent)


async def test_nothing_is_learnt_before_what_came_earlier(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = lose_the_count_of_the_second(monkeypatch, threading.Event())
    for records in batches():
        agent.waiting.put_nowait(records)
    await assert_is_as_ever(agent)
    assert begun == [records[0].offset for records in batches()]


async def test_a_network_that_fails_while_what_comes_next_is_not_counted_changes_nothing(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, runs = threading.Event(), [0]
    lose_the_count_of_the_second(monkeypatch, lost)

    def fail_once(inputs: object) -> None:
        runs[0] += 1
        if runs[0] == 1:
            assert lost.wait(GUARD_S)
            raise RuntimeError("a bad day")

    spoil(agent.stage.parts.ranker, fail_once)
    for records in batches():
        agent.waiting.put_nowait(records)
    await assert_is_as_ever(agent)
    assert runs[0] == len(ITEMS) + 1


def lose_the_count_of_the_second(
    monkeypatch: pytest.MonkeyPatch, lost: threading.Event
) -> list[int]:
    """Have the second micro-batch merged and, at first, not counted; `lost` tells when.

    Returns the first offsets of what is learnt ahead, as that goes on.
    """
    begun: list[int] = []

    async def lose(admissions: object) -> None:
        raise ConnectionError("Redis went away")

    async def prepare_or_fail(parts: Parts, records: Sequence[Record]) -> Prepared:
        begun.append(records[0].offset)
        if len(begun) != 2:
            return await prepare(parts, records)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(parts.counts, "add", lose)
                return await prepare(parts, records)
        finally:
            lost.set()

    monkeypatch.setattr(stream.agents, "prepare", prepare_or_fail)
    return begun


async def test_an_error_that_nobody_catches_ends_the_agent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(stage)
    monkeypatch.setattr(stream.agents, "micro_batches", agent.micro_batches)

    def refuse(batch: Any) -> None:
        raise ValueError("acknowledged twice")

    monkeypatch.setattr(stream.agents, "ack", refuse)
    agent.waiting.put_nowait(batches()[0])
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(ExceptionGroup) as raised:
            await agent.run()
    assert raised.group_contains(ValueError, match="twice")
