"""A build leaves what living through the log leaves, however it is cut, broken off or repeated."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.count_oracle import after_queries, neighbours, popularity
from model.events import Event, Purchase, Search
from model.ids import item_hash
from serving.count_rows import ROW
from serving.counts import MAX_NEIGHBOURS, Counts
from serving.parts import Parts
from serving.profile import Profile
from stream.replay import build as build_room
from stream.replay import event_past
from stream.replay.build import BuildError, build
from stream.replay.build_state import Builder, BuildState
from stream.replay.event_past import EventPast
from stream.replay.past import Learnt, PastBatch, Position
from tests.parts import MINUTE_MS, NOW, FlakyStore, click, forget, open_parts, purchase, search
from tests.past_logs import (
    KeptPosition,
    are_equal,
    counts_in,
    live_through,
    past_log,
    profiles_in,
)

pytestmark = pytest.mark.either_backend

SEEDS = given(st.integers(0, 10**9))
ON_A_SERVER = settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BATCH = {0: 500}
"""Events that a source gives at once."""
FUNCTIONS = ("held", "build", "add", "replace", "merge", "count")


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, kind=FlakyStore) as opened:
        counts = Counts(opened.store, shards=4, half_life_days=14, by_country=True)
        yield replace(opened, counts=counts)


async def cleared(parts: Parts) -> None:
    await parts.store.redis.flushdb()


def past_of(events: Sequence[Event], name: str = "log") -> EventPast:
    """A source of these events."""
    return EventPast(name, events, batch=BATCH[0])


async def built(parts: Parts, events: Sequence[Event], name: str = "log") -> Position:
    """Build from the beginning, in one go."""
    return await build(parts, past_of(events, name), {}, keep=KeptPosition().keep)


def cut_anywhere(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
    monkeypatch.setitem(BATCH, 0, rng.choice([7, 40, 500]))
    monkeypatch.setattr(build_room, "MOST_EVENTS", rng.choice([20, 90, 10_000]))


def in_one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions have no order among them: what is done under an anonymous id in another one while
    its user is forgotten is counted where it is taken first."""
    monkeypatch.setattr(event_past, "partition_of", lambda key: 0)


@SEEDS
@ON_A_SERVER
async def test_a_build_equals_living_through_the_log(parts: Parts, seed: int) -> None:
    """In order, late or doubled, whatever the epochs."""
    rng = random.Random(seed)
    log = past_log(rng, rng.choice([40, 400]), late_minutes=rng.choice([0, 60, 1200]))
    await cleared(parts)
    await live_through(parts, log)
    profiles, counts = await profiles_in(parts), await counts_in(parts)
    await cleared(parts)
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_anywhere(monkeypatch, rng)
        await built(parts, log)
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))


@SEEDS
@ON_A_SERVER
async def test_identified_and_forgotten_users_are_those_of_the_live_path(
    parts: Parts, seed: int
) -> None:
    rng = random.Random(seed)
    log = past_log(rng, 200, late_minutes=rng.choice([0, 60]), identified=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_one_partition(monkeypatch)
        await cleared(parts)
        await live_through(parts, log)
        profiles, counts = await profiles_in(parts), await counts_in(parts)
        await cleared(parts)
        cut_anywhere(monkeypatch, rng)
        await built(parts, log)
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))


@SEEDS
@ON_A_SERVER
async def test_a_build_that_breaks_off_goes_on_to_the_same_end(parts: Parts, seed: int) -> None:
    """Trips that fail in all steps, some of their calls done."""
    rng = random.Random(seed)
    log = past_log(rng, 400, late_minutes=60, identified=rng.random() < 0.3)
    store = parts.store
    assert isinstance(store, FlakyStore)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_one_partition(monkeypatch)
        monkeypatch.setattr(build_room, "MOST_EVENTS", 90)
        monkeypatch.setitem(BATCH, 0, 45)
        await cleared(parts)
        await built(parts, log)
        profiles, counts = await profiles_in(parts), await counts_in(parts)
        await cleared(parts)
        kept, broken = KeptPosition(), 0
        while broken < 8:
            monkeypatch.setitem(BATCH, 0, rng.choice([10, 45, 200]))
            store.break_at = rng.choice(FUNCTIONS), rng.randrange(4)
            try:
                await build(parts, past_of(log), kept.position, keep=kept.keep)
                break
            except ConnectionError:
                broken += 1
        store.break_at = None
        await build(parts, past_of(log), kept.position, keep=kept.keep)
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))


@pytest.mark.parametrize("function", ["held", "build", "add", "replace"])
@pytest.mark.parametrize("through", [0, 1])
async def test_the_crashes_above_do_happen(parts: Parts, function: str, through: int) -> None:
    store = parts.store
    assert isinstance(store, FlakyStore)
    log = past_log(random.Random(7), 60)
    await built(parts, log)
    profiles, counts = await profiles_in(parts), await counts_in(parts)
    await cleared(parts)
    store.break_at = function, through
    with pytest.raises(ConnectionError):
        await built(parts, log)
    await built(parts, log)
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))


async def test_building_twice_changes_nothing(parts: Parts) -> None:
    log = past_log(random.Random(1), 400, late_minutes=30)
    await built(parts, log)
    profiles, counts = await profiles_in(parts), await counts_in(parts)
    await built(parts, log)
    assert await profiles_in(parts) == profiles
    assert await counts_in(parts) == counts


async def test_progress_tells_of_the_newest_event_to_the_end(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last epoch is full when the log ends, so that an empty one follows."""
    monkeypatch.setattr(build_room, "MOST_EVENTS", 2)
    monkeypatch.setitem(BATCH, 0, 2)
    log = [click("u1", "a", NOW - 9), click("u2", "b", NOW), click("u1", "c", NOW - 5)] * 2
    told: list[Learnt] = []
    await build(parts, past_of(log), {}, progress=told.append)
    assert told[0][:2] == (2, NOW)
    assert told[-1] == (len(log), NOW, {"log": len(log)})


async def test_an_epoch_ends_where_its_pairs_would_take_too_much_memory(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten events of one user within half an hour make 45; of ten users, none."""
    monkeypatch.setattr(build_room, "MOST_PAIRS", 45)
    monkeypatch.setitem(BATCH, 0, 10)
    dense = [click("u0", f"i{at}", NOW - at) for at in range(10)]
    sparse = [click(f"u{at}", "i0", NOW - at) for at in range(1, 11)]
    apart = [click("u0", f"i{at}", NOW - (at + 1) * 31 * MINUTE_MS) for at in range(10)]
    for log, ends in ((dense * 2, [10, 20]), (sparse + apart, [20])):
        told: list[Learnt] = []
        await build(parts, past_of(log, f"log {len(ends)}"), {}, progress=told.append)
        assert sorted({each.events for each in told}) == ends


async def test_what_is_counted_is_what_the_oracle_says(parts: Parts) -> None:
    rng = random.Random(3)
    log: list[Purchase | Search] = []
    for at in range(300):
        user, ts = f"u{rng.randrange(9)}", NOW - (300 - at) * 3 * MINUTE_MS
        if rng.random() < 0.3:
            log.append(search(user, f"q{rng.randrange(4)}", ts))
        else:
            log.append(purchase(user, f"i{rng.randrange(20)}", ts))
    await built(parts, log)
    weigh = parts.counts.weight
    popular = await parts.counts.popular()
    expected = popularity(log, weigh)
    assert dict(zip(popular.items.tolist(), popular.weights.tolist(), strict=True)) == (
        pytest.approx(expected, rel=1e-9)
    )
    oracle = neighbours(log, weigh)
    held = await parts.counts.neighbours(list(oracle))
    for each, strongest in zip(held, oracle.values(), strict=True):
        assert dict(zip(each.items.tolist(), each.weights.tolist(), strict=True)) == pytest.approx(
            dict(zip(strongest.items.tolist(), strongest.weights.tolist(), strict=True)), rel=1e-9
        )
    chosen = after_queries(log, weigh)
    held = await parts.counts.chosen_after(list(chosen))
    for each, weights in zip(held, chosen.values(), strict=True):
        assert dict(zip(each.items.tolist(), each.weights.tolist(), strict=True)) == (
            pytest.approx(weights, rel=1e-9)
        )


async def test_live_events_go_on_where_the_build_ended(parts: Parts) -> None:
    """Pairs of a user's newest events before and the first ones after are counted too."""
    log = past_log(random.Random(5), 300)
    await live_through(parts, log)
    profiles, counts = await profiles_in(parts), await counts_in(parts)
    await cleared(parts)
    await built(parts, log[:200])
    await live_through(parts, log)  # the first 200 again, which changes nothing
    assert await profiles_in(parts) == profiles
    assert are_equal(counts, await counts_in(parts))


async def test_the_strongest_neighbours_are_kept_in_a_bounded_number_of_rows(parts: Parts) -> None:
    strong = [f"s{at}" for at in range(MAX_NEIGHBOURS)]
    visits = [*strong * 3, *(f"w{at}" for at in range(3 * MAX_NEIGHBOURS))]
    log = [
        click(f"v{at}", item, NOW - at * MINUTE_MS)
        for at, visited in enumerate(visits)
        for item in (visited, "a")
    ]
    await built(parts, log, "first")
    await built(parts, [click(each.user_id + "x", each.item_id) for each in log[::-1]], "second")
    (near,) = await parts.counts.neighbours([item_hash("a")], most=1_000)
    assert {item_hash(each) for each in strong} <= set(near.items.tolist())
    assert 2 * MAX_NEIGHBOURS <= len(near.items) <= 3 * MAX_NEIGHBOURS
    assert np.all(np.diff(near.weights) <= 0)
    (key,) = await parts.store.redis.keys(f"*:with:{item_hash('a'):012x}")
    assert await parts.store.redis.strlen(key) <= 3 * MAX_NEIGHBOURS * ROW.itemsize


async def test_counts_are_left_alone_where_nothing_shall_be_counted(parts: Parts) -> None:
    log = past_log(random.Random(2), 50)
    await build(parts, past_of(log), {}, keep=KeptPosition().keep, count=False)
    assert await counts_in(parts) == {}
    profiles = await profiles_in(parts)
    await cleared(parts)
    await live_through(parts, log)
    assert await profiles_in(parts) == profiles


async def test_what_was_forgotten_is_not_learnt_again(parts: Parts) -> None:
    await live_through(parts, [forget("u1", NOW - 10)])
    await built(parts, [purchase("u1", "a", NOW - 20), click("u1", "b", NOW - 5)])
    profile = await parts.store.profile("u1")
    assert len(profile.history().items) == 1
    assert profile.purchases == b""
    popular = await parts.counts.popular()
    assert popular.items.tolist() == [item_hash("b")]


async def test_a_profile_that_another_one_has_changed_meanwhile_loses_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forget event of the live stream, say; here an event is merged between two steps."""
    counting = Counts.add_sums

    async def count_slowly(counts: Counts, *arguments: object) -> None:
        await counting(counts, *arguments)  # type: ignore[arg-type]
        await live_through(parts, [click("u1", "between", NOW)])

    monkeypatch.setattr(Counts, "add_sums", count_slowly)
    await built(parts, [click("u1", "a", NOW - 1)], "other")
    assert len((await parts.store.profile("u1")).history().items) == 2


async def test_a_build_that_was_kept_and_not_noted_is_done_when_it_is_begun_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, kept = Builder.note, KeptPosition()

    async def killed_at_the_end(builder: Builder, state: BuildState) -> None:
        if state.step == "done":
            raise ConnectionError("killed")
        await note(builder, state)

    with monkeypatch.context() as patched, pytest.raises(ConnectionError):
        patched.setattr(Builder, "note", killed_at_the_end)
        await build(parts, past_of([click("u1", "a")], "one"), {}, keep=kept.keep)
    assert kept.position == {"one": 1}
    await build(parts, past_of([], "another"), kept.position)
    assert (await Builder(parts.store, parts.counts).begin()).step == "done"


async def test_a_generation_that_an_earlier_version_has_begun_is_not_gone_on_with(
    parts: Parts,
) -> None:
    """Its profiles know the events whose counts this version cannot read: none would be counted."""
    await parts.store.redis.hset(parts.counts.sets.before_rows, "epoch", b"{}")
    with pytest.raises(BuildError, match="drop this generation"):
        await built(parts, [click("u1", "a")])
    assert not any(await parts.store.profile("u1"))


async def test_another_source_waits_for_the_one_that_broke_off(parts: Parts) -> None:
    store = parts.store
    assert isinstance(store, FlakyStore)
    log = past_log(random.Random(8), 60)
    store.break_at = "replace", 0
    with pytest.raises(ConnectionError):
        await built(parts, log, "one")
    with pytest.raises(BuildError, match=r"one 60.*run that one again"):
        await built(parts, log, "another")
    with pytest.raises(BuildError, match=r"one 60.*run that one again"):
        await built(parts, log[:30], "one")
    with pytest.raises(BuildError, match="has to go on from the first of them"):
        await build(parts, past_of(log, "one"), {"one": 5}, keep=KeptPosition().keep)
    assert await built(parts, log, "one") == {"one": 60}


class BrokenPast(EventPast):
    """Cannot be read to its end."""

    def __init__(self, events: Sequence[Event], error: Exception) -> None:
        super().__init__("log", events)
        self._error = error

    def batches(self, done: Position) -> Iterator[PastBatch]:
        yield from super().batches(done)
        raise self._error


@pytest.mark.parametrize(
    "error", [OSError("the disk is away"), TimeoutError("a socket's")], ids=str
)
async def test_what_a_source_raises_ends_the_build(parts: Parts, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await build(parts, BrokenPast([click("u1", "a")], error), {}, keep=KeptPosition().keep)
    await built(parts, [click("u1", "a")])
    assert await parts.store.profile("u1") != Profile()
