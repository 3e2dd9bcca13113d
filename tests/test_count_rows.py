"""Rows of the shared counts: added up by whoever reads, and by the server where they are many."""

import random
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import exposure
from serving.count_rows import MEMBER, ROW, added_up, pack_rows
from serving.count_sets import CountSets
from serving.count_sums import MOST_OF_A_SET, SumCalls
from serving.counts import MAX_NEIGHBOURS
from serving.parts import Parts
from serving.past_pairs import NOTHING, PastCounts, Sums
from tests.parts import open_parts
from tests.test_counts import ON_A_SERVER, SEEDS

KEPT, MOST = 2 * MAX_NEIGHBOURS, 3 * MAX_NEIGHBOURS
SET = 0x123456789ABC
Rows = list[tuple[int, float]]
"""Items and weights."""
ROWS = st.lists(st.tuples(st.integers(0, 2**48 - 1) | st.integers(0, 4), st.integers(1, 5)))


def string(rows: Rows) -> bytes:
    """These rows, packed."""
    items, weights = [item for item, _ in rows], [weight for _, weight in rows]
    return pack_rows(np.array(items, np.uint64), np.array(weights, np.float64)).tobytes()


def strongest_first(rows: Rows) -> Rows:
    """Each item once, with the sum of its weights; of equal ones the higher first."""
    sums: Counter[int] = Counter()
    for item, weight in rows:
        sums[item] += weight  # type: ignore[assignment]
    return sorted(sums.items(), key=lambda each: (each[1], each[0]), reverse=True)


@given(st.lists(ROWS))
def test_rows_of_an_item_are_added_up(strings: list[Rows]) -> None:
    found = added_up([string(each) for each in strings])
    held = list(zip(found.items.tolist(), found.weights.tolist(), strict=True))
    ends = found.ends.tolist()
    assert len(ends) == len(strings) + 1
    assert [held[ends[at] : ends[at + 1]] for at in range(len(strings))] == [
        strongest_first(each) for each in strings
    ]


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as opened:
        yield opened


def sums_of(one: int, rows: Rows) -> Sums:
    """What these rows add to a set."""
    items = np.array([item for item, _ in rows], np.uint64)
    weights = np.array([weight for _, weight in rows], np.float64)
    return Sums(np.full(len(rows), one, np.uint64), items, weights)


@pytest.mark.either_backend
@SEEDS
@ON_A_SERVER
async def test_where_rows_are_many_the_strongest_stay(parts: Parts, seed: int) -> None:
    """Whatever comes when; weights are few, so that many are equal."""
    await parts.store.redis.flushdb()
    rng, expected = random.Random(seed), Rows()
    for epoch in range(1, 12):
        items = rng.sample(range(0, 2**48, 2**40), rng.randrange(1, 200))
        added = [(item, float(rng.randrange(1, 4))) for item in items]
        await parts.counts.add_sums(epoch, PastCounts(NOTHING, sums_of(SET, added)), 1)
        expected += added
        if len(expected) > MOST:
            expected = strongest_first(expected)[:KEPT]
        held = await parts.store.redis.get(parts.counts.sets.key(SET))
        assert held is not None and len(held) == len(expected) * ROW.itemsize
        (found,) = await parts.counts.neighbours([SET], MOST)
        assert list(zip(found.items.tolist(), found.weights.tolist(), strict=True)) == (
            strongest_first(expected)
        )


def test_of_a_set_of_pairs_the_strongest_sums_are_sent_and_of_lists_all() -> None:
    sets, shown = CountSets("nc:", "h14of4", 0, 4), int(exposure.FIRST_SET) + 1
    rows = [(item, float(item % 1_000)) for item in range(2_000)]
    pairs = [sums_of(one, rows) for one in (SET, SET + 4, shown)]
    sent = SumCalls(sets, NOTHING, Sums(*map(np.concatenate, zip(*pairs, strict=True)))).of(0)
    assert sent.keys[3:] == [sets.key(one) for one in (SET, SET + 4, shown)]
    assert np.frombuffer(sent.sizes, ">u4").tolist() == [MOST_OF_A_SET] * 2
    for at in range(2):
        start = at * MOST_OF_A_SET * ROW.itemsize
        own = added_up([sent.rows[start : start + MOST_OF_A_SET * ROW.itemsize]])
        assert own.weights.min() == 1_000 - MOST_OF_A_SET / 2
    assert np.frombuffer(sent.sizes_of_lists, ">u4").tolist() == [len(rows)]
    assert len(sent.of_lists) == len(rows) * MEMBER.itemsize
