"""Which of a user's items speak for an item of his list: what is claimed is seen when they go.

On a real Redis and a real network. Whoever is compared has a profile that no count knows of, so
that shared counts are the same for all.
"""

import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.events import Event, Interaction
from model.ids import item_hash
from model.items import Item
from serving.explanation import Explanation, explain_user
from serving.intake import decode
from serving.learning import learn_waves
from serving.leave_one_out import REMOVED, Removals, losses, without
from serving.list_request import RequestTable
from serving.parts import Parts
from serving.reasons import Explain, Telling
from serving.recommend import recommend, recommend_user, request_now
from serving.recommendation import Contribution, Recommendation
from serving.waves import in_waves
from serving.why import FitsHistory, FitsLast, FitsProfile, ViewedTogether
from tests.parts import NOW, click, open_parts, profile, purchase, records_of, search
from tests.tiny import tiny_bundle

SHOP = [
    Item(item_id=f"{colour}-{at}", title=f"{title} {at}", category=("board", colour))
    for at in range(13)
    for colour, title in (("black", "黑色"), ("white", "white square"))
]
BLEND = BlendWeights(network=1, repeat=1, covisit=0.5, popular=0.1, unknown=0.2)
COUNTS_ALONE = BlendWeights(network=0, repeat=1, covisit=0.5, popular=0.1)
ROUNDED = 1.6e-4
"""Two scores and what is between them, each rounded to four digits, and float32."""


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "reads queries"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("contributions") / "bundle"
    ids = [item.item_id for item in SHOP[:-2]]
    tiny_bundle(path, ids, length=12, top_k=24, blend=BLEND, queries=request.param)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    """A worker whose lists hold the whole shop, after six users have walked over the board."""
    async with open_parts(redis_url, SHOP, bundle=bundle, list_length=len(SHOP)) as opened:
        events = [
            click(f"{colour} player {at}", f"{colour}-{(at + step) % 13}", NOW - 9 + step)
            for at in range(3)
            for colour in ("black", "white")
            for step in range(9)
        ]
        await recommend(opened, records_of(events))
        await opened.candidates.refresh_popular()
        yield opened


def changed(
    parts: Parts, explain: Explain = "cheap", blend: BlendWeights = BLEND, length: int = len(SHOP)
) -> Parts:
    manifest = msgspec.structs.replace(parts.bundle.manifest, blend=blend)
    return dataclasses.replace(
        parts,
        bundle=dataclasses.replace(parts.bundle, manifest=manifest),
        telling=Telling(explain=explain),
        list_length=length,
    )


async def remember(parts: Parts, user_id: str, events: Iterable[Event]) -> None:
    """Give a user these events, without counting them."""
    own = [msgspec.structs.replace(each, user_id=user_id) for each in events]
    decoded, dead_letters = decode(records_of(own), NOW)
    assert not dead_letters
    await learn_waves(parts, in_waves(decoded, parts.store.source), count=False)


def scores(made: Recommendation) -> dict[str, float]:
    return {each.item_id: each.score for each in made.items}


def shopping(items: Sequence[str], bought: Sequence[str] = ()) -> list[Interaction]:
    """A minute for each."""
    seen = [click("u", item, NOW - 3_600_000 + 60_000 * at) for at, item in enumerate(items)]
    return [
        *seen,
        *(purchase("u", item, NOW - 90_000_000 + 60_000 * at) for at, item in enumerate(bought)),
    ]


SHOPPINGS = {
    "a few": shopping(["black-1", "black-2", "white-7", "black-1", "black-5"]),
    "with purchases": shopping(["white-3", "black-2"], ["white-9", "black-2", "white-9"]),
    "more than seeds and windows": shopping(
        [f"{colour}-{at}" for at in range(12) for colour in ("black", "white")]
    ),
    "one item": shopping(["black-4", "black-4"], ["black-4"]),
    "unknown to the network": shopping(["white-12", "black-12", "white-1"]),
}


@pytest.mark.parametrize("name", SHOPPINGS)
async def test_without_an_item_a_score_falls_by_what_was_claimed(parts: Parts, name: str) -> None:
    events = SHOPPINGS[name]
    await remember(parts, "u", events)
    explained = await explain_user(parts, "u")
    before = scores(explained.list)
    items = {each.item_id for each in events}
    assert {loss.item_id for each in explained.items for loss in each.losses} <= items
    seen = 0
    for gone in items:
        await remember(parts, f"without {gone}", (each for each in events if each.item_id != gone))
        after = scores(await recommend_user(parts, f"without {gone}"))
        claimed = losses_without(explained, gone)
        for item_id in before.keys() & after.keys():
            fallen = before[item_id] - after[item_id]
            assert fallen == pytest.approx(claimed.get(item_id, 0), abs=ROUNDED)
            seen += abs(fallen) > ROUNDED
    assert seen >= len(before) / 2


def losses_without(explained: Explanation, gone: str) -> dict[str, float]:
    """Amount by listed item."""
    return {
        each.item_id: loss.amount
        for each in explained.items
        for loss in each.losses
        if loss.item_id == gone
    }


@pytest.mark.parametrize("name", ["a few", "with purchases", "one item", "unknown to the network"])
async def test_what_costs_no_run_is_what_removal_shows_of_counts_and_purchases(
    parts: Parts, name: str
) -> None:
    parts = changed(parts, blend=COUNTS_ALONE)
    await remember(parts, "u", SHOPPINGS[name])
    explained = await explain_user(parts, "u")
    told = 0
    for item, taken_apart in zip(explained.list.items, explained.items, strict=True):
        named = {each.item_id: each.amount for each in item.contributions}
        really = {each.item_id: each.amount for each in taken_apart.losses if each.amount > 0}
        greatest = sorted(really.values(), reverse=True)[: len(named)]
        assert sorted(named.values(), reverse=True) == pytest.approx(greatest, abs=ROUNDED)
        for item_id, amount in named.items():
            assert amount == pytest.approx(really[str(item_id)], abs=ROUNDED)
        assert len(named) == min(3, len(really))
        told += len(named)
    assert told >= 1


async def test_the_first_contribution_of_what_goes_together_is_what_the_reason_names(
    parts: Parts,
) -> None:
    await remember(parts, "u", SHOPPINGS["a few"])
    made = await recommend_user(parts, "u")
    about = [each for each in made.items if isinstance(each.why, ViewedTogether)]
    assert about
    for each in about:
        assert each.contributions[0].item_id == each.because


async def test_leaving_out_on_the_stream_tells_what_removal_shows(parts: Parts) -> None:
    trying = changed(parts, "leave_one_out", length=10)
    users = {f"u{at}": events for at, events in enumerate(SHOPPINGS.values())}
    for user_id, events in users.items():
        await remember(parts, user_id, events)
    outcome = await recommend(trying, records_of([search(user, "黑色", NOW) for user in users]))
    assert {each.user_id for each in outcome.lists} == users.keys()
    for made in outcome.lists:
        assert made.step_ms["explain"] > 0
        newest = [each.item_id for each in sorted(users[made.user_id], key=lambda one: -one.time)]
        removed = list(dict.fromkeys(newest))[:REMOVED]
        alone = {
            each.item_id: [
                Contribution(str(loss.item_id), loss.amount)
                for loss in each.losses
                if loss.item_id in removed and loss.amount > 0
            ][:3]
            for each in (await explain_user(parts, made.user_id, "黑色")).items
        }
        for each in made.items:
            # What is older is told by counts and purchases alone.
            newer = [one for one in each.contributions if one.item_id in removed]
            assert newer == alone[each.item_id][: len(newer)]
            assert len(newer) >= min(2, len(alone[each.item_id]))
            amounts = [one.amount for one in each.contributions]
            assert amounts == sorted(amounts, reverse=True)
        without_older = len(removed) == len(dict.fromkeys(newest))
        assert not without_older or all(
            len(each.contributions) == len(alone[each.item_id]) for each in made.items
        )


async def test_what_the_network_found_is_put_down_to_what_it_would_fall_most_without(
    parts: Parts,
) -> None:
    trying = changed(parts, "leave_one_out", BlendWeights(network=1))
    await remember(parts, "u", SHOPPINGS["a few"])
    made = await recommend_user(trying, "u")
    found = [each for each in made.items if each.sources[0] == "nearest"]
    assert found
    for each in found:
        if each.contributions:
            first = each.contributions[0].item_id
            assert isinstance(each.why, FitsHistory)
            assert each.because == each.why.item_id == first
            known = parts.catalog.get(first)
            assert known is not None
            assert each.reason == f"fits what you chose: {known.title}"
        else:
            assert isinstance(each.why, FitsProfile)
    plainly = await recommend_user(parts, "u")
    newest = {each.because for each in plainly.items if each.sources[0] == "nearest"}
    assert newest == {"black-5"}
    assert all(not isinstance(each.why, FitsHistory) for each in plainly.items)
    assert any(isinstance(each.why, FitsLast) for each in plainly.items)


async def test_lists_name_no_contributions_where_nobody_asks(parts: Parts) -> None:
    await remember(parts, "u", SHOPPINGS["a few"])
    silent = await recommend_user(changed(parts, "off"), "u")
    telling = await recommend_user(parts, "u")
    assert all(each.contributions == () for each in silent.items)
    assert any(each.contributions for each in telling.items)
    bare = [msgspec.structs.replace(each, contributions=()) for each in telling.items]
    assert list(silent.items) == bare


@pytest.mark.parametrize("explain", ["off", "cheap", "leave_one_out"])
async def test_somebody_new_gets_a_list(parts: Parts, explain: Explain) -> None:
    made = await recommend_user(changed(parts, explain), "nobody")
    assert made.items
    assert all(each.contributions == () for each in made.items)


async def test_an_item_that_left_the_catalogue_is_counted_and_not_named(parts: Parts) -> None:
    await remember(parts, "u", SHOPPINGS["a few"])
    before = await explain_user(parts, "u")
    parts.catalog.remove("black-2")
    after = await explain_user(parts, "u")
    amounts = losses_without(before, "black-2")
    for item in after.items:
        gone = [each.amount for each in item.losses if each.item_id is None]
        assert sum(gone) == pytest.approx(amounts.get(item.item_id, 0), abs=ROUNDED)
    made = await recommend_user(changed(parts, "leave_one_out"), "u")
    assert all(each.item_id != "black-2" for item in made.items for each in item.contributions)


async def test_what_is_no_item_any_more_loses_nothing(parts: Parts) -> None:
    await remember(parts, "u", SHOPPINGS["a few"])
    asked = RequestTable([await request_now(parts, "u", None, {})] * 2)
    row = parts.catalog.row_of("black-3")
    removals = Removals(
        np.array([0, 1]), np.array([item_hash("black-1"), item_hash("black-5")], np.uint64)
    )
    lost = await losses(parts, asked, np.array([[row, -1], [-1, -1]]), removals)
    assert lost.shape == (2, 2)
    assert lost[0, 0] != 0
    assert lost[0, 1] == lost[1, 0] == lost[1, 1] == 0


@given(
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.sampled_from("abcde"),
)
def test_without_an_item_a_profile_is_that_of_the_other_events(
    seen: list[str], bought: list[str], gone: str
) -> None:
    whole = profile(seen=seen, bought=bought)
    left = without(whole, item_hash(gone))
    assert left.history().items.tolist() == [
        each for each in whole.history().items.tolist() if each != item_hash(gone)
    ]
    assert left.bought().items.tolist() == [
        each for each in whole.bought().items.tolist() if each != item_hash(gone)
    ]
    assert left.queries == whole.queries
