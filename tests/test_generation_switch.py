"""The switch of workers to another generation: nothing lost and nothing doubled, step by step."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import count

import pytest

from model.events import MAX_FUTURE_MS, Click, Event, Impression
from serving.intake import decode
from serving.learning import learn
from serving.profile import Profile
from serving.recommendation import AsOf, Recommendation, Recommended, recommendation_id
from stream.replay.build import build
from stream.replay.generations import Shadow
from stream.replay.topic_past import TopicPast
from stream.settings import Settings
from tests.backends import Broker
from tests.parts import NOW, click, forget, purchase, search
from tests.shop import ITEMS
from tests.switching import Killed, Switching, switching
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.either_backend

SHADOW = 1
_serial = count()


def events(partition: int, number: int, *, seed: int = 0) -> list[Event]:
    """Clicks, purchases and searches of this partition's users within half an hour."""
    rng = random.Random(seed * 100 + partition)
    found: list[Event] = []
    for at in range(number):
        user, time = f"user {partition}.{rng.randrange(4)}", NOW - 1_000_000 + seed * 1_000 + at
        item = rng.choice(ITEMS[:12]).item_id
        kinds: list[Event] = [click(user, item, time), purchase(user, item, time)]
        found.append(rng.choice([*kinds, search(user, item, time)]))
    return found


def a_list(user: str, items: Sequence[str]) -> Recommendation:
    as_of = AsOf("events", 0, 1)
    return Recommendation(
        rec_id=recommendation_id(user, as_of, "bundle"),
        user_id=user,
        event_id="e",
        ts=NOW,
        as_of=as_of,
        bundle="bundle",
        items=tuple(
            Recommended(item, rank, 0.5, ("popular",), "because")
            for rank, item in enumerate(items, start=1)
        ),
        step_ms={},
    )


@pytest.fixture(scope="module")
def settings(stream_settings: Settings) -> Settings:
    if not stream_settings.bundle.exists():
        tiny_bundle(stream_settings.bundle, [item.item_id for item in ITEMS])
    return stream_settings


@pytest.fixture
async def stage(settings: Settings, broker: Broker, redis_url: str) -> AsyncIterator[Switching]:
    """An empty Redis, and a topic of two partitions with thirty events each."""
    topic = f"events-{next(_serial)}"
    broker.create_topics({topic: 2})
    async with switching(settings.model_copy(update={"events_topic": topic})) as opened:
        await opened.write({0: events(0, 30), 1: events(1, 30)})
        yield opened


async def built(stage: Switching, **until: int) -> Shadow:
    """A shadow that has learnt the topic, up to an end or these offsets (``p0=3``)."""
    generation = await stage.generations.begin()
    shadow = Shadow(stage.parts.for_past(generation), stage.generations)
    if not until:
        past = TopicPast(stage.settings, stage.settings.events_topic)
        await build(shadow.parts, past, await shadow.positions(), keep=shadow.keep)
        return shadow
    for name, end in until.items():
        await learn(shadow.parts, decode(stage.log[int(name[1:])][:end], NOW)[0])
    topic = stage.settings.events_topic
    await shadow.keep({f"{topic}:{name[1:]}": end for name, end in until.items()})
    return shadow


async def test_a_shadow_is_what_living_through_the_topic_gives(stage: Switching) -> None:
    shadow = await built(stage)
    await stage.assert_lived_through(shadow.generation)


async def test_a_worker_that_is_ahead_of_the_shadow_catches_up(stage: Switching) -> None:
    worker = await stage.worker({0: 0, 1: 0})
    for partition in (0, 1):
        await worker.learn(partition, 25)
    await built(stage, p0=10, p1=0)
    await stage.flip(SHADOW)
    await worker.switch.look()
    for partition in (0, 1):
        await worker.learn(partition, 30)
    assert worker.switch.parts.store.generation == SHADOW
    await stage.assert_lived_through(SHADOW)


async def test_a_worker_says_that_counts_of_an_earlier_version_are_not_read(
    stage: Switching, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.worker({0: 0, 1: 0})
    assert "earlier version" not in caplog.text
    store = stage.parts.store
    await store.redis.set(f"{store.prefix}:count:h14of16:{{0}}:offsets", b"")
    worker = await stage.worker({0: 0, 1: 0})
    assert "generation 0 has counts that an earlier version made" in caplog.text
    assert "docs/durability.md" in caplog.text
    await built(stage)
    await store.redis.set(f"{store.prefix}:count:g{SHADOW}h14of16:{{0}}:offsets", b"")
    await stage.flip(SHADOW)
    await worker.switch.look()
    assert f"generation {SHADOW} has counts that an earlier version made" in caplog.text


async def test_a_worker_that_is_behind_the_shadow_doubles_nothing(stage: Switching) -> None:
    worker = await stage.worker({0: 0, 1: 0})
    await worker.learn(0, 5)
    await built(stage)
    await stage.flip(SHADOW)
    await worker.switch.look()
    for partition in (0, 1):
        await worker.learn(partition, 30)
    await stage.assert_lived_through(SHADOW)


async def test_an_idle_partition_is_caught_up_with_too(stage: Switching) -> None:
    worker = await stage.worker({0: 0, 1: 0})
    for partition in (0, 1):
        await worker.learn(partition, 30)
    await built(stage, p0=3, p1=3)
    await stage.flip(SHADOW)
    await worker.switch.look()
    await stage.assert_lived_through(SHADOW)


async def test_what_is_learnt_before_the_switch_is_noticed_is_not_lost(stage: Switching) -> None:
    worker = await stage.worker({0: 0, 1: 0})
    await worker.learn(0, 12)
    await worker.learn(1, 30)
    await built(stage, p0=10, p1=10)
    await stage.flip(SHADOW)
    await worker.learn(0, 20)  # into the old generation: the worker has not looked
    assert worker.switch.parts.store.generation == 0
    await worker.switch.look()
    await worker.learn(0, 30)
    await stage.assert_lived_through(SHADOW)


async def test_a_partition_goes_to_a_worker_that_has_not_looked(stage: Switching) -> None:
    first, second = await stage.worker({0: 0}), await stage.worker({1: 0})
    await first.learn(0, 10)
    await second.learn(1, 30)
    await built(stage, p0=5, p1=5)
    await stage.flip(SHADOW)
    await first.switch.look()
    await first.learn(0, 20)
    # It is at the second one's, before it has looked; of the first one's work 15 is committed.
    second.assign({0: 15, 1: 30})
    await second.learn(0, 30)
    assert second.switch.parts.store.generation == SHADOW
    await stage.assert_lived_through(SHADOW)


async def test_a_partition_goes_from_a_worker_that_has_not_looked(stage: Switching) -> None:
    first, second = await stage.worker({0: 0}), await stage.worker({1: 0})
    await built(stage, p0=5, p1=5)
    await stage.flip(SHADOW)
    await first.learn(0, 20)
    second.assign({0: 15, 1: 0})
    await second.learn(1, 30)
    await second.learn(0, 30)
    # The first one wakes, and its work goes into the old generation.
    await first.learn(0, 25)
    await stage.assert_lived_through(SHADOW)


@pytest.mark.parametrize("trips", range(1, 9))
async def test_a_worker_is_killed_while_it_catches_up(stage: Switching, trips: int) -> None:
    await built(stage, p0=4, p1=4)
    await stage.flip(SHADOW)
    worker = await stage.worker({0: 20, 1: 20}, trips=trips)
    with pytest.raises(Killed):
        await worker.learn(0, 25)
        await worker.learn(0, 30)
    after = await stage.worker({0: 20, 1: 18})
    for partition in (0, 1):
        await after.learn(partition, 30)
    await stage.assert_lived_through(SHADOW)


async def test_a_builder_that_wakes_after_the_flip_does_no_harm(stage: Switching) -> None:
    shadow = await built(stage, p0=10, p1=10)
    await stage.flip(SHADOW)
    worker = await stage.worker({0: 10, 1: 10})
    await worker.learn(0, 20)
    past = TopicPast(stage.settings, stage.settings.events_topic)
    with pytest.raises(Exception, match="is live by now"):
        await build(shadow.parts, past, {}, keep=shadow.keep)
    for partition in (0, 1):
        await worker.learn(partition, 30)
    await stage.assert_lived_through(SHADOW)


async def test_the_way_back_is_exact_too(stage: Switching) -> None:
    worker = await stage.worker({0: 0, 1: 0})
    await worker.learn(0, 12)
    await worker.learn(1, 12)
    await built(stage)
    await stage.flip(SHADOW)
    await worker.switch.look()
    await worker.learn(0, 20)
    back = Shadow(stage.parts.for_past(0), stage.generations)
    past = TopicPast(stage.settings, stage.settings.events_topic)
    await build(back.parts, past, await back.positions(), keep=back.keep)
    await stage.write({0: events(0, 10, seed=1)})
    await worker.learn(0, 35)
    await stage.flip(0)
    await worker.switch.look()
    await worker.learn(0, 40)
    await worker.learn(1, 30)
    assert worker.switch.parts.store.generation == 0
    await stage.assert_lived_through(0)


@pytest.mark.parametrize("at", [5, 15, 25])
async def test_what_is_forgotten_around_the_switch_stays_forgotten(
    stage: Switching, at: int
) -> None:
    """Before the shadow's end, between it and the worker's place, behind both."""
    own: Sequence[Event] = [click("ann", "tea-1", NOW - 100 + each) for each in range(30)]
    await stage.write({0: [*own[:at], forget("ann", NOW - 50), *own[at:]]})
    worker = await stage.worker({0: 0, 1: 0})
    await worker.learn(0, 50)
    await built(stage, p0=40, p1=0)
    await stage.flip(SHADOW)
    await worker.switch.look()
    await worker.learn(0, 61)
    live = worker.switch.parts.store
    assert (await live.profile("ann")) == Profile()
    assert await live.redis.get(live.keys("ann").profile) is None


async def test_the_first_generation_of_all_is_not_caught_up_with(stage: Switching) -> None:
    worker = await stage.worker({0: 25, 1: 30})
    await worker.learn(0, 30)
    (user,) = {each.event.user_id for each in decode(stage.log[0][29:], NOW)[0]}
    assert await stage.parts.store.profile(user) != Profile()
    assert not any((await stage.parts.store.profile("user 1.0"))[:3])


async def test_what_came_of_lists_goes_on_and_counts_once(stage: Switching) -> None:
    """The list was made before the switch; its click comes again to the next worker behind it."""
    worker = await stage.worker({0: 30, 1: 30})
    made = a_list("ann", ["tea-1", "tea-2"])
    await worker.switch.parts.store.keep([made])
    shown = Impression(
        event_id="s", user_id="ann", ts=NOW, rec_id=made.rec_id, item_ids=("tea-1", "tea-2")
    )
    clicked = Click(event_id="c", user_id="ann", ts=NOW, item_id="tea-2", rec_id=made.rec_id)
    await stage.write({0: [shown, clicked]})
    await worker.learn(0, 32)
    await built(stage, p0=31, p1=30)
    await stage.flip(SHADOW)
    after = await stage.worker({0: 30, 1: 30})
    await after.learn(0, 31)
    await after.learn(0, 32)
    parts = after.switch.parts
    assert parts.store.generation == SHADOW
    assert await parts.store.last_list("ann") == made
    _, told = await parts.counts.looks(made.bundle)
    assert (told.weights / parts.counts.weight(NOW)).tolist() == [1, 1, 1]
    await stage.assert_lived_through(SHADOW)


async def test_what_was_a_dead_letter_stays_one(stage: Switching) -> None:
    """An event from the future, which is the past by now."""
    stamp = stage.log[0][0].timestamp
    await stage.write({0: [click("ann", "tea-1", stamp + MAX_FUTURE_MS + 600_000)]})
    worker = await stage.worker({0: 31, 1: 30})
    worker.switch.parts = replace(worker.switch.parts, now_ms=lambda: stamp + 10 * MAX_FUTURE_MS)
    await built(stage, p0=30, p1=30)
    await stage.flip(SHADOW)
    await worker.switch.look()
    assert await worker.switch.parts.store.profile("ann") == Profile()


async def test_a_partition_comes_back_to_a_worker_that_has_not_looked(stage: Switching) -> None:
    first, second = await stage.worker({}), await stage.worker({0: 0, 1: 0})
    await second.learn(0, 5)
    await built(stage, p0=5, p1=5)
    await stage.flip(SHADOW)
    first.assign({0: 5})
    await first.learn(0, 20)
    second.assign({0: 20, 1: 0})
    for partition in (0, 1):
        await second.learn(partition, 30)
    await stage.assert_lived_through(SHADOW)
