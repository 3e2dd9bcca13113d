"""One builder at a time: the lease of a generation, who has it, and who has lost it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import pytest

from model.events import Event
from serving.parts import Parts
from stream.replay import build_state
from stream.replay.build import BuildError, build
from stream.replay.build_state import Builder, BuildState
from stream.replay.event_past import EventPast
from tests.parts import click, open_parts
from tests.past_logs import KeptPosition, are_equal, counts_in, past_log, profiles_in

pytestmark = pytest.mark.either_backend


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as opened:
        yield opened


async def built(parts: Parts, events: Sequence[Event]) -> None:
    """Build from the beginning, in one go."""
    await build(parts, EventPast("log", events), {}, keep=KeptPosition().keep)


async def test_one_builder_at_a_time(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    log = past_log(random.Random(4), 60)
    first = Builder(parts.store, parts.counts)
    monkeypatch.setattr(build_state, "LEASE_MS", 600_000)
    await first.begin()
    # Nobody waits for long from here on, and the first has its lease however slow the machine is.
    monkeypatch.setattr(build_state, "LEASE_MS", 0)
    with pytest.raises(BuildError, match="another build writes"):
        await built(parts, log)
    await first.note(BuildState())  # until now
    await built(parts, log)
    with pytest.raises(BuildError, match="another one has taken over"):
        second = Builder(parts.store, parts.counts)
        await second.begin()
        await first.note(BuildState())


async def test_who_heard_late_that_it_is_another_s_asks_once_more(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_state, "LEASE_MS", 0)
    await Builder(parts.store, parts.counts).begin()
    ask = Builder._call
    is_first = True

    async def answer_late(builder: Builder, how: Literal["take", "hold"]) -> BuildState | None:
        nonlocal is_first
        if not is_first:
            return await ask(builder, how)
        is_first = False
        await asyncio.sleep(1.1)  # by then it has waited for as long as it will
        return None

    monkeypatch.setattr(Builder, "_call", answer_late)
    assert await Builder(parts.store, parts.counts).begin() == BuildState()


async def test_a_lease_is_prolonged_until_the_build_is_over(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_state, "LEASE_MS", 100)

    async def ends() -> bytes:
        lease = await parts.store.redis.hget(parts.counts.sets.shard_keys(0)[0], "lease")
        assert isinstance(lease, bytes)
        return lease[:8]

    builder, is_over = Builder(parts.store, parts.counts), asyncio.Event()
    await builder.begin()
    seen = {await ends()}
    holding = asyncio.create_task(builder.prolong(is_over))
    async with asyncio.timeout(60):
        while len(seen) < 5:
            await asyncio.sleep(0.01)
            seen.add(await ends())
        is_over.set()
        await holding


async def test_a_builder_that_slept_while_another_came_and_went_is_refused(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epochs have numbers that shards have counted by now, and would be left out."""
    monkeypatch.setattr(build_state, "LEASE_MS", 0)
    sleeper = Builder(parts.store, parts.counts)
    await sleeper.begin()
    await sleeper.note(BuildState())
    await built(parts, [click("u1", "a")])
    with pytest.raises(BuildError, match="another one has taken over"):
        await sleeper.note(BuildState(1, "counting"))


async def test_two_builds_at_once_leave_what_one_leaves(parts: Parts) -> None:
    """The second waits, and finds all done."""
    log = past_log(random.Random(6), 300)
    await built(parts, log)
    profiles, counts = await profiles_in(parts), await counts_in(parts)
    await parts.store.redis.flushdb()
    await asyncio.gather(built(parts, log), built(parts, log))
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))
