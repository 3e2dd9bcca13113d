"""Two generations compared: what was planted is found, and nothing else."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from model.events import Event
from model.ids import item_hash
from serving.count_rows import pack_rows
from serving.parts import Parts
from stream.replay.compare import Comparing
from stream.replay.comparison import Comparison
from stream.replay.stored_keys import profile_suffix
from tests.parts import NOW, click, forget, open_parts, purchase, records_of, search, take

SHADOW = 1
LOG: list[Event] = [
    click("ann", "a", NOW - 900),
    search("ann", "tea", NOW - 800),
    purchase("ann", "b", NOW - 700),
    click("bob", "a", NOW - 600),
    click("bob", "c", NOW - 500),
]


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as parts:
        yield parts


async def lived_through(live: Parts, of_shadow: Sequence[Event] = LOG) -> Parts:
    """Both generations have learnt a log; returns the shadow."""
    shadow = live.for_past(SHADOW)
    await take(live, records_of(LOG))
    await take(shadow, records_of(of_shadow))
    return shadow


async def compared(live: Parts, shadow: Parts, sample: int = 10) -> Comparison:
    pairs = [(each.store, each.counts) for each in (live, shadow)]
    return await Comparing(*pairs, sample=sample).all()


async def test_the_same_log_is_equal(live: Parts) -> None:
    found = await compared(live, await lived_through(live))
    assert found.is_equal
    assert found.profiles_equal == 2
    assert found.counts_equal > 4
    assert not found.profiles and not found.counts


async def test_a_missing_user_is_found(live: Parts) -> None:
    shadow = await lived_through(live, LOG[:3])
    found = await compared(live, shadow)
    assert (found.profiles_equal, found.profiles_only_first) == (1, 1)
    assert found.profiles[0].event.is_in_first
    other_way = await compared(shadow, live)
    assert (other_way.profiles_equal, other_way.profiles_only_second) == (1, 1)
    assert not found.is_equal and not other_way.is_equal


async def test_the_first_differing_event_is_told(live: Parts) -> None:
    shadow = await lived_through(live, [LOG[0], *LOG[2:4]])
    found = await compared(live, shadow)
    assert found.profiles_different == 2
    told = {each.event.what: each.event for each in found.profiles}
    assert told["“tea”"].kind == "search"
    assert told["“tea”"].time == NOW - 800
    clicked = told[f"item {item_hash('c'):012x}"]
    assert (clicked.kind, clicked.time, clicked.is_in_first) == ("click", NOW - 500, True)


async def test_one_user_can_be_asked_for(live: Parts) -> None:
    shadow = await lived_through(live, LOG[:-1])
    comparing = Comparing((live.store, live.counts), (shadow.store, shadow.counts))
    assert (await comparing.user("ann")).is_equal
    difference = (await comparing.user("bob")).difference
    assert difference is not None and difference.time == NOW - 500


async def test_a_changed_count_is_found(live: Parts) -> None:
    shadow = await lived_through(live)
    key = shadow.counts.sets.key(item_hash("a"))
    row = pack_rows(np.array([item_hash("b")], np.uint64), shadow.counts.weights(np.array([NOW])))
    await shadow.store.redis.append(key, row.tobytes())
    found = await compared(live, shadow)
    assert found.profiles_equal == 2
    assert found.counts_different == 1
    assert found.counts[0].member == item_hash("b")
    assert found.counts[0].second == pytest.approx(2 * found.counts[0].first)


async def test_a_missing_set_of_counts_is_found_on_either_side(live: Parts) -> None:
    shadow = await lived_through(live)
    await shadow.store.redis.delete(shadow.counts.sets.key(item_hash("a")))
    assert (await compared(live, shadow)).counts_different == 1
    assert (await compared(shadow, live)).counts_different == 1


async def test_rounding_is_no_difference(live: Parts) -> None:
    shadow = await lived_through(live)
    key = shadow.counts.sets.key(item_hash("a"))
    row = pack_rows(
        np.array([item_hash("b")], np.uint64), shadow.counts.weights(np.array([NOW])) * 1e-12
    )
    await shadow.store.redis.append(key, row.tobytes())
    assert (await compared(live, shadow)).is_equal


async def test_what_is_forgotten_is_no_difference(live: Parts) -> None:
    """Its bytes are still stored in the generation that has not seen the forget event."""
    shadow = await lived_through(live)
    await take(live, records_of([forget("ann", NOW - 850)], first=9))
    stored = await shadow.store.redis.get(shadow.store.keys("ann").profile)
    assert stored is not None and len(stored) > 50
    found = await compared(live, shadow)
    assert (found.profiles_equal, found.profiles_different) == (2, 0)


async def test_the_sample_is_bounded_and_the_totals_are_not(live: Parts) -> None:
    shadow = await lived_through(live, [])
    found = await compared(live, shadow, sample=1)
    assert (found.profiles_only_first, len(found.profiles), len(found.counts)) == (2, 1, 1)


async def test_profiles_of_a_third_generation_do_not_matter(live: Parts) -> None:
    shadow = await lived_through(live)
    third = live.for_past(11)
    await take(third, records_of([click("cleo", "a")]))
    assert third.store.keys("cleo").profile.endswith(profile_suffix(11))
    assert (await compared(live, shadow)).is_equal
