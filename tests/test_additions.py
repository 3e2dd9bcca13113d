"""What of a wave a shard still has to add: what comes from offsets that it has not applied."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from model.events import Click
from model.ids import item_hash
from serving import exposure
from serving.additions import Additions, DueAdditions
from serving.count_sets import CountSets
from serving.covisits import Admission
from serving.merge import origin
from serving.parts import Parts
from serving.past_pairs import Sums
from serving.profile import IDENTITY_BYTES, pack_interaction, profile_of
from tests.parts import NOW, click, open_parts

SOURCES = ["events:0", "events:1"]
SETS = CountSets("nc:", "h14of4", 0, 2)
SHOWN = int(exposure.FIRST_SET)


def additions(rows: Sequence[tuple[int, int, float, int, int]]) -> Additions:
    """Of set, member, weight, source and offset."""
    sets, members, weights, sources, offsets = zip(*rows, strict=True)
    return Additions(
        np.array(sets, np.uint64), np.array(members, np.uint64), np.array(weights),
        np.array(sources), np.array(offsets),
    )  # fmt: skip


def held(sums: Sums) -> dict[tuple[int, int], float]:
    """By set and member."""
    sets, members, weights = (column.tolist() for column in sums)
    return dict(zip(zip(sets, members, strict=True), weights, strict=True))


def a_wave() -> DueAdditions:
    """Of offsets 5 to 7 of one partition and 1 of the other; sets 2 and 3 lie in two shards."""
    popular = additions(
        [(2, 2, 1.0, 0, 5), (3, 3, 1.0, 0, 6), (2, 2, 1.0, 0, 7), (2, 2, 1.0, 1, 1)]
    )
    pairs = additions([(2, 9, 1.0, 0, 5), (2, 9, 2.0, 0, 7), (SHOWN, 4, 1.0, 2, 5)])
    return DueAdditions(SETS, SOURCES, popular, pairs)


def test_at_first_all_is_due_in_every_shard() -> None:
    due = a_wave()
    assert due.shards == [0, 1]
    popular, pairs = due.sums()
    assert held(popular) == {(2, 2): 3.0, (3, 3): 1.0}
    assert held(pairs) == {(2, 9): 3.0, (SHOWN, 4): 1.0}
    assert due.fronts() == [
        (0, [2, "events:0", 5, 7, "events:1", 1, 1, "events:0", 5, 5]),
        (1, [1, "events:0", 6, 6]),
    ]
    due.answered([[], []])
    assert due.shards == []


def test_a_shard_that_has_come_further_gets_the_rest() -> None:
    due = a_wave()
    due.answered([[5, -1, -1], []])
    assert due.shards == [0]
    popular, pairs = due.sums()
    assert held(popular) == {(2, 2): 2.0}
    assert held(pairs) == {(2, 9): 2.0, (SHOWN, 4): 1.0}, "what came of lists has its own offsets"
    assert due.fronts() == [(0, [2, "events:0", 6, 7, "events:1", 1, 1, "events:0", 5, 5])]


def test_where_nothing_is_left_the_offsets_are_told_all_the_same() -> None:
    due = a_wave()
    due.answered([[7, 3, 8], [9]])
    assert [len(column) for sums in due.sums() for column in sums] == [0] * 6
    assert due.fronts() == [
        (0, [2, "events:0", 8, 7, "events:1", 4, 1, "events:0", 9, 5]),
        (1, [1, "events:0", 10, 6]),
    ]


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as opened:
        yield opened


def admission(source: str, first: int, clicks: Sequence[Click]) -> Admission:
    """These clicks, from that offset on, of a user with nothing before."""
    events = [pack_interaction(each) for each in clicks]
    origins = [origin(source, first + at) for at in range(len(clicks))]
    return Admission(
        source=[source] * len(clicks),
        offsets=range(first, first + len(clicks)),
        origins=origins,
        events=events,
        arrivals=[at + each[:IDENTITY_BYTES] for at, each in zip(origins, events, strict=True)],
        profile=profile_of(events, []),
    )


@pytest.mark.either_backend
async def test_waves_may_overlap_in_any_way(parts: Parts) -> None:
    log = [click("u", item) for item in "aabacd"]
    weight = parts.counts.weight(NOW)
    for first, last in ((0, 3), (1, 5), (0, 2), (3, 6), (0, 6)):
        await parts.counts.add([admission("events:0", first, log[first:last])])
        await parts.counts.add([admission("events:1", first, log[first:last])])
    popular = await parts.counts.popular()
    assert dict(zip(popular.items.tolist(), popular.weights.tolist(), strict=True)) == {
        item_hash("a"): pytest.approx(6 * weight),
        item_hash("b"): pytest.approx(2 * weight),
        item_hash("c"): pytest.approx(2 * weight),
        item_hash("d"): pytest.approx(2 * weight),
    }
