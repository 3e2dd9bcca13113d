"""The whole path on a real Redis and a real network: records in, lists out."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.events import Event, Identify, Impression, encode_event
from model.items import Item
from serving.parts import Parts
from serving.ranker import Scores
from serving.recommend import Outcome, recommend, recommend_user
from serving.recommendation import (
    AsOf,
    Recommendation,
    decode_recommendation,
    encode_recommendation,
    recommendation_id,
)
from tests.parts import (
    HOUR_MS,
    MINUTE_MS,
    NOW,
    FakeRecord,
    click,
    counted,
    forget,
    open_parts,
    purchase,
    records_of,
    search,
)
from tests.tiny import tiny_bundle

# A checkerboard: users of one colour only ever visit items of that colour. The last item of each
# colour is not in the network's vocabulary.
COLOURS = {"black": "黑色", "white": "white"}
SHOP = [
    Item(item_id=f"{colour}-{at}", title=f"{title} square {at}", category=("board", colour))
    for at in range(13)
    for colour, title in COLOURS.items()
]
TOGETHER_ALONE = BlendWeights(network=0, repeat=0, covisit=1, popular=0.001)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("recommend") / "bundle"
    tiny_bundle(path, [item.item_id for item in SHOP[:-2]], top_k=24)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, SHOP, bundle=bundle) as opened:
        yield opened


def changed(parts: Parts, *, blend: BlendWeights | None = None, **changes: Any) -> Parts:
    """The same parts under another manifest or other settings."""
    manifest = parts.bundle.manifest
    if "repeats_allowed" in changes:
        allowed = changes.pop("repeats_allowed")
        manifest = msgspec.structs.replace(manifest, repeats_allowed=allowed)
    if blend is not None:
        manifest = msgspec.structs.replace(manifest, blend=blend)
    bundle = dataclasses.replace(parts.bundle, manifest=manifest)
    return dataclasses.replace(parts, bundle=bundle, **changes)


async def lists_of(parts: Parts, *events: Event, first: int = 0) -> list[Recommendation]:
    """The lists of a micro-batch of these events; nothing of it may be dead."""
    outcome = await recommend(parts, records_of(events, first=first))
    assert not outcome.dead_letters
    for each in outcome.lists:
        check(parts, each)
    return outcome.lists


def check(parts: Parts, made: Recommendation) -> None:
    """What holds for every list."""
    items = [each.item_id for each in made.items]
    assert len(set(items)) == len(items) <= parts.list_length
    assert [each.rank for each in made.items] == list(range(1, len(items) + 1))
    assert all(each.sources and each.reason for each in made.items)
    assert made.bundle == parts.bundle.manifest.version
    assert {"decode", "profiles", "candidates", "rank", "rerank"} == set(made.step_ms)
    assert decode_recommendation(encode_recommendation(made)) == made
    for item_id in items:
        item = parts.catalog.get(item_id)
        assert item is not None and item.available


def ids(made: Recommendation) -> list[str]:
    return [each.item_id for each in made.items]


async def play(parts: Parts) -> None:
    """Six users walk over the board, each over the squares of one colour."""
    events = [
        click(f"{colour} player {at}", f"{colour}-{(at + step) % 13}", NOW - 9 + step)
        for at in range(3)
        for colour in COLOURS
        for step in range(9)
    ]
    await lists_of(parts, *events, first=10_000)
    await parts.candidates.refresh_popular()


async def test_one_click_and_the_list_takes_its_colour(parts: Parts) -> None:
    parts = changed(parts, blend=TOGETHER_ALONE)
    await play(parts)
    for colour in COLOURS:
        (made,) = await lists_of(parts, click("newcomer " + colour, f"{colour}-4"))
        near, seed = made.items[:8], parts.catalog.get(f"{colour}-4")
        assert seed is not None
        assert all(each.item_id.startswith(colour) for each in near)
        assert all("together" in each.sources for each in near)
        assert near[0].because == seed.item_id
        assert near[0].reason == f"often together with {seed.title}"
        assert seed.item_id not in ids(made), "the clicked item is no recommendation"


async def test_a_list_says_where_it_comes_from(parts: Parts) -> None:
    event = click("u", "black-1")
    (record,) = records_of([event], first=77)
    (made,) = (await recommend(parts, [dataclasses.replace(record, partition=5)])).lists
    assert (made.user_id, made.event_id, made.ts) == ("u", event.event_id, NOW)
    assert made.as_of == AsOf("events", 5, 77)
    assert made.rec_id == recommendation_id("u", made.as_of, made.bundle)
    assert len(made.items) == parts.list_length
    assert all(milliseconds > 0 for milliseconds in made.step_ms.values())


async def test_run_again_a_batch_gives_the_same_lists(parts: Parts) -> None:
    events: list[Event] = [
        click("u", "black-1"),
        search("u", "white"),
        purchase("v", "white-2"),
    ]
    first = await lists_of(parts, *events)
    again = await lists_of(parts, *events)
    assert [each.rec_id for each in again] == [each.rec_id for each in first]
    assert [ids(each) for each in again] == [ids(each) for each in first]
    assert len({each.rec_id for each in first}) == 3


async def test_an_item_keeps_all_of_its_sources(parts: Parts) -> None:
    await play(parts)
    await lists_of(parts, purchase("u", "white-3", NOW - 5), click("u", "white-4", NOW - 4))
    (made,) = await lists_of(parts, search("u", "white square 3"), first=10)
    best = made.items[0]
    assert best.item_id == "white-3"
    assert best.sources == ("search", "repeat", "together", "nearest", "popular")
    assert best.reason == "matches your search “white square 3”"


@pytest.mark.parametrize("query", ["黑色", "黑 色!", "square 黑色", "ＷＨＩＴＥ"])
async def test_matches_of_a_search_come_first(parts: Parts, query: str) -> None:
    colour = "white" if "ＷＨＩＴＥ" in query else "black"
    await lists_of(parts, purchase("u", "black-1", NOW - 1), purchase("u", "white-1", NOW - 1))
    (made,) = await lists_of(parts, search("u", query), first=10)
    assert made.query == query
    assert all(item.startswith(colour) for item in ids(made))
    assert all(each.sources[0] == "search" for each in made.items)


@pytest.mark.parametrize("query", ["!!!", "nobody sells this", "🙈", "\0", "ابحث"])
async def test_a_search_without_matches_still_gets_a_list(parts: Parts, query: str) -> None:
    (made,) = await lists_of(parts, search("u", query))
    assert len(made.items) == parts.list_length
    assert all("search" not in each.sources for each in made.items)


async def test_each_search_has_its_own_list_and_other_events_share_one(parts: Parts) -> None:
    one, two = search("u", "black"), search("u", "white")
    clicks = [click("u", "black-1"), click("v", "white-1"), click("u", "white-2")]
    made = await lists_of(parts, clicks[0], one, clicks[1], two, clicks[2])
    assert [(each.event_id, each.as_of.offset) for each in made] == [
        (one.event_id, 1),
        (clicks[1].event_id, 2),
        (two.event_id, 3),
        (clicks[2].event_id, 4),
    ]
    assert [each.query for each in made] == ["black", None, "white", None]


async def test_seen_items_return_only_where_the_bundle_allows_it(parts: Parts) -> None:
    seen = [f"black-{at}" for at in range(12)]
    await lists_of(parts, *(click("u", item, NOW - 5) for item in seen))
    await lists_of(parts, purchase("u", "white-0", NOW - 5), first=20)
    (with_repeats,) = await lists_of(parts, search("u", "黑色"), first=30)
    assert len(set(ids(with_repeats)) & set(seen)) >= 9, "there are thirteen black squares"
    strict = changed(parts, repeats_allowed=False)
    (without,) = await lists_of(strict, search("u", "黑色"), first=31)
    assert not set(ids(without)) & {*seen, "white-0"}
    assert ids(without)[0] == "black-12", "the only black square left"


async def test_removed_items_never_appear(parts: Parts) -> None:
    await play(parts)
    await lists_of(parts, *(purchase("u", item.item_id, NOW - 1) for item in SHOP))
    for item in SHOP[:5]:
        parts.catalog.put(msgspec.structs.replace(item, available=False))
    for item in SHOP[5:-1]:
        parts.catalog.remove(item.item_id)
    made = await lists_of(parts, search("u", "square"), click("u", SHOP[0].item_id), first=50)
    assert [ids(each) for each in made] == [[SHOP[-1].item_id]] * 2
    parts.catalog.put(SHOP[7])
    (made_now,) = await lists_of(parts, click("u", SHOP[0].item_id), first=60)
    assert set(ids(made_now)) == {SHOP[7].item_id, SHOP[-1].item_id}


class RemovesWhileRanking:
    """A ranker during whose run the catalogue loses an item."""

    def __init__(self, parts: Parts, item_id: str) -> None:
        self._parts = parts
        self._item_id = item_id
        self.features_of = parts.ranker.features_of
        self.beside = parts.ranker.beside

    def score(self, *inputs: Any) -> Scores:
        scores = self._parts.ranker.score(*inputs)
        self._parts.catalog.remove(self._item_id)
        return scores


async def test_an_item_removed_while_the_network_runs_does_not_appear(parts: Parts) -> None:
    query = search("u", "white square 3")
    (before,) = await lists_of(parts, query)
    assert ids(before)[0] == "white-3"
    meddled = changed(parts, ranker=RemovesWhileRanking(parts, "white-3"))
    (after,) = await lists_of(meddled, query)
    assert "white-3" not in ids(after)


async def test_an_item_the_network_does_not_know_is_recommended_too(parts: Parts) -> None:
    (made,) = await lists_of(parts, search("u", "square 12"))
    assert set(ids(made)[:2]) == {"black-12", "white-12"}


async def test_an_empty_catalogue_gives_an_empty_list_and_counts_it(
    redis_url: str, bundle: Bundle
) -> None:
    async with open_parts(redis_url, bundle=bundle) as parts:
        before = counted("empty_lists")
        made = await lists_of(parts, click("u", "black-1"), search("u", "黑色"))
        assert [each.items for each in made] == [(), ()]
        assert counted("empty_lists") == before + 2


async def test_unknown_items_users_and_odd_keys_are_served_and_counted(parts: Parts) -> None:
    names = ["unknown_items", "new_users", "key_mismatches"]
    before = {name: counted(name) for name in names}
    events: list[Event] = [
        click("用户", "未知"),
        click("مستخدم", "black-1"),
        click("🙂" * 64, "🛒"),
        search("seeker", "🍕"),
    ]
    records = [
        dataclasses.replace(record, key=key)
        for record, key in zip(records_of(events), [None, b"", b"\xff\xfe", b"seeker"], strict=True)
    ]
    outcome = await recommend(parts, records)
    assert [each.user_id for each in outcome.lists] == [event.user_id for event in events]
    assert all(len(each.items) == parts.list_length for each in outcome.lists)
    assert not outcome.dead_letters
    assert {name: counted(name) - before[name] for name in names} == {
        "unknown_items": 2,
        "new_users": 4,
        "key_mismatches": 3,
    }


async def test_a_bad_record_among_good_ones_stops_nothing(parts: Parts) -> None:
    good = records_of([click("u", "black-1"), search("v", "white")])
    reasons = {
        b"{": "malformed_json",
        b'{"type":"teleport"}': "invalid",
        None: "null_value",
        encode_event(click("u", "black-1")) + b"!": "malformed_json",
    }
    bad = [FakeRecord(value, 10 + at) for at, value in enumerate(reasons)]
    before = counted("dead_letters", reason="malformed_json")
    outcome = await recommend(parts, [bad[0], good[0], *bad[1:], good[1]])
    assert [each.user_id for each in outcome.lists] == ["u", "v"]
    assert [(each.record, each.error.reason) for each in outcome.dead_letters] == [
        (record, reason) for record, reason in zip(bad, reasons.values(), strict=True)
    ]
    assert all(str(each.error) for each in outcome.dead_letters)
    assert counted("dead_letters", reason="malformed_json") == before + 2


async def test_nothing_but_bad_records_makes_no_list(parts: Parts) -> None:
    assert (await recommend(parts, [FakeRecord(b"", 0)])).lists == []
    assert await recommend(parts, []) == Outcome([], [])


async def test_replayed_and_old_events_update_profiles_and_make_no_list(parts: Parts) -> None:
    old = click("u", "black-1", NOW - HOUR_MS - 1)
    replayed = click("u", "black-2", NOW - 5)
    records = [
        *records_of([old]),
        *records_of([replayed], first=1, headers=[("nextclick-replay", b"1")]),
    ]
    before = {why: counted("events_without_list", why=why) for why in ("old", "replayed")}
    assert (await recommend(parts, records)).lists == []
    assert len((await parts.store.profile("u")).history().items) == 2
    for why, value in before.items():
        assert counted("events_without_list", why=why) == value + 1
    outcome = await recommend(changed(parts, publish_replayed=True), records)
    assert [each.event_id for each in outcome.lists] == [replayed.event_id]
    (on_time,) = await lists_of(parts, click("u", "black-3", NOW - HOUR_MS), first=2)
    assert on_time.as_of.offset == 2


async def test_what_is_no_deed_makes_no_list_and_no_profile(parts: Parts) -> None:
    events: list[Event] = [
        Impression(event_id="i", user_id="u", ts=NOW, rec_id="r", item_ids=("black-1",)),
        Identify(event_id="d", user_id="u", ts=NOW, anonymous_id="anonymous"),
        forget("u"),
    ]
    assert await lists_of(parts, *events) == []
    assert await parts.store.redis.exists(*parts.store.keys("u")[::2]) == 0


async def test_a_forgotten_user_leaves_no_list(parts: Parts) -> None:
    before = counted("events_without_list", why="forgotten")
    events: list[Event] = [
        click("u", "black-1", NOW - MINUTE_MS),
        search("u", "黑色", NOW - 2),
        forget("u"),
    ]
    outcome = await recommend(parts, records_of(events))
    await parts.store.keep(outcome.lists)
    assert outcome.lists == []
    assert counted("events_without_list", why="forgotten") == before + 2
    assert await parts.store.last_list("u") is None
    # What comes late is forgotten as well, even where old events are published.
    late = records_of([search("u", "黑色", NOW - 1)], first=3)
    assert (await recommend(changed(parts, publish_replayed=True), late)).lists == []
    # Life goes on.
    (made,) = await lists_of(parts, click("u", "white-1", NOW + 1), first=4)
    await parts.store.keep([made])
    assert await parts.store.last_list("u") == made


async def test_a_user_can_be_asked_for_at_any_time(parts: Parts) -> None:
    parts = changed(parts, blend=TOGETHER_ALONE)
    await play(parts)
    await lists_of(parts, click("u", "white-4", NOW - 5), click("u", "white-5", NOW - 4))
    made = await recommend_user(parts, "u")
    assert made.items[0].item_id.startswith("white")
    assert "together" in made.items[0].sources
    stranger = await recommend_user(parts, "a stranger")
    assert len(stranger.items) == parts.list_length
    assert await parts.store.last_list("u") is None, "nothing is published"


async def test_a_batch_is_one_run_of_the_network(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    score = parts.ranker.score

    def spied(*inputs: Any) -> Scores:
        runs.append(len(inputs[1]))
        return score(*inputs)

    monkeypatch.setattr(parts.ranker, "score", spied)
    await lists_of(parts, *(click(f"u{at}", "black-1") for at in range(50)))
    assert runs == [50]


def test_a_list_is_named_by_user_place_and_bundle() -> None:
    place = AsOf("events", 1, 2)
    names = {
        recommendation_id("u", place, "b"),
        recommendation_id("v", place, "b"),
        recommendation_id("u", AsOf("events", 1, 3), "b"),
        recommendation_id("u", AsOf("events", 2, 2), "b"),
        recommendation_id("u", AsOf("other", 1, 2), "b"),
        recommendation_id("u", place, "c"),
    }
    assert len(names) == 6
    assert recommendation_id("u", place, "b") in names
    assert all(len(name) == 32 for name in names)
