"""Which generation is live: one atomic step each, and nothing is built into what is live."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError

import serving.round_trip
from serving.generations import GenerationError, Generations, Pointer, live_parts
from tests.parts import open_parts

PART, OTHER = "topic:0", "topic:1"


@pytest.fixture
async def generations(redis_url: str) -> AsyncIterator[Generations]:
    async with open_parts(redis_url) as parts:
        yield Generations(parts.store)


async def test_the_first_generation_is_live_where_nobody_made_another(
    generations: Generations,
) -> None:
    assert await generations.read() == Pointer(0, 0, None, None, frozenset({0}))


async def test_a_shadow_is_begun_once(generations: Generations) -> None:
    assert [await generations.begin(), await generations.begin()] == [1, 1]
    assert (await generations.read()).building == 1


async def test_positions_are_kept_by_generation(generations: Generations) -> None:
    shadow = await generations.begin()
    await generations.keep(shadow, {PART: 5})
    await generations.keep(shadow, {PART: 7, OTHER: 1})
    assert await generations.positions(shadow) == {PART: 7, OTHER: 1}
    assert await generations.positions(0) == {}


async def test_a_flip_makes_the_shadow_live(generations: Generations) -> None:
    shadow = await generations.begin()
    assert await generations.flip(await generations.read(), shadow, {PART: 9})
    assert await generations.read() == Pointer(1, 1, 0, None, frozenset({0, 1}))
    assert await generations.positions(0) == {PART: 9}


async def test_nothing_is_built_into_what_is_live(generations: Generations) -> None:
    shadow = await generations.begin()
    await generations.keep(shadow, {PART: 5})
    await generations.flip(await generations.read(), shadow, {})
    with pytest.raises(GenerationError, match="is live"):
        await generations.keep(shadow, {PART: 7})
    assert await generations.positions(shadow) == {PART: 5}


async def test_of_two_flips_at_once_one_wins(generations: Generations) -> None:
    shadow = await generations.begin()
    seen = await generations.read()
    assert await generations.flip(seen, shadow, {})
    assert not await generations.flip(seen, shadow, {})
    assert (await generations.read()).epoch == 1


async def test_a_flip_whose_answer_is_lost_is_made_again_and_is_one(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow, seen = await generations.begin(), await generations.read()
    answers, lost = serving.round_trip._replies, list[int]()

    async def lose_the_first(connection: AbstractConnection, count: int) -> list[Any]:
        found = await answers(connection, count)
        if not lost:
            lost.append(count)
            raise ConnectionError("the answer was lost")
        return found

    monkeypatch.setattr(serving.round_trip, "_replies", lose_the_first)
    assert await generations.flip(seen, shadow, {PART: 9})
    assert lost == [1]
    assert await generations.read() == Pointer(1, 1, 0, None, frozenset({0, 1}))
    assert await generations.positions(0) == {PART: 9}
    assert not await generations.flip(seen, shadow, {}), "another one, of the same wish"


async def test_a_partition_is_entered_in_its_own_epoch_only(generations: Generations) -> None:
    shadow = await generations.begin()
    before = await generations.read()
    await generations.flip(before, shadow, {})
    after = await generations.read()
    assert not await generations.enter(before, [PART])
    assert await generations.enter(after, [PART])
    assert await generations.entered(shadow) == {PART}


async def test_where_nobody_entered_the_positions_stay(generations: Generations) -> None:
    """What is committed meanwhile was learnt into the generation before."""
    shadow = await generations.begin()
    await generations.keep(shadow, {PART: 5, OTHER: 5})
    await generations.flip(await generations.read(), shadow, {})
    await generations.enter(await generations.read(), [OTHER])
    await generations.flip(await generations.read(), 0, {PART: 8, OTHER: 8})
    assert await generations.positions(shadow) == {PART: 5, OTHER: 8}


async def test_after_a_flip_back_partitions_are_entered_anew(generations: Generations) -> None:
    shadow = await generations.begin()
    await generations.flip(await generations.read(), shadow, {})
    await generations.enter(await generations.read(), [PART])
    for to in (0, shadow):
        await generations.flip(await generations.read(), to, {})
    assert await generations.entered(shadow) == set()


async def test_the_live_generation_cannot_be_removed(generations: Generations) -> None:
    shadow = await generations.begin()
    with pytest.raises(GenerationError, match="generation 0 is live"):
        await generations.remove(0)
    await generations.flip(await generations.read(), shadow, {})
    await generations.remove(0)
    assert await generations.read() == Pointer(1, 1, None, None, frozenset({1}))


async def test_a_number_is_never_given_twice(generations: Generations) -> None:
    first = await generations.begin()
    await generations.remove(first)
    assert await generations.begin() == first + 1
    with pytest.raises(GenerationError, match="dropped"):
        await generations.keep(first, {PART: 1})


async def test_parts_follow_what_is_live(redis_url: str) -> None:
    async with open_parts(redis_url) as parts:
        assert await live_parts(parts) is parts
        generations = Generations(parts.store)
        shadow = await generations.begin()
        await generations.flip(await generations.read(), shadow, {})
        followed = await live_parts(parts)
        assert followed.store.generation == shadow
        assert followed.store.keys("u").profile != parts.store.keys("u").profile
        assert followed.store.keys("u").last_list == parts.store.keys("u").last_list
