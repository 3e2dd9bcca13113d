"""A list of this moment, taken to pieces: the pieces add up, and looking changes nothing."""

import dataclasses
from collections.abc import AsyncIterator

import msgspec
import numpy as np
import pytest

from model.blend import BlendWeights, Signals, blend
from model.bundle import Bundle, load_bundle
from model.events import ContractError, Event
from model.items import Item
from serving.explanation import Explanation, blend_parts, explain_user
from serving.parts import Parts
from serving.reasons import Telling
from serving.recommend import recommend, recommend_user
from serving.recommendation import decode_recommendation, encode_recommendation
from tests.parts import NOW, click, open_parts, purchase, records_of, search
from tests.tiny import tiny_bundle

SHOP = [
    Item(item_id=f"{name}-{at}", title=f"{title} {at}", category=("shop", name))
    for at in range(12)
    for name, title in (("phone", "智能手机"), ("tea", "green tea"), ("book", "كتاب"))
]
BLEND = BlendWeights(network=1, repeat=1, covisit=0.5, popular=0.1, unknown=0.3)
QUERIES = ["智能手机", "green tea 3", "nobody sells this", "كتاب", "🙈"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("explanation") / "bundle"
    tiny_bundle(path, [item.item_id for item in SHOP[:-3]], top_k=24, blend=BLEND, queries=True)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    """A worker that knows of ann, who looked at phones and bought tea, and of what bob asked."""
    async with open_parts(redis_url, SHOP, bundle=bundle) as opened:
        events: list[Event] = [
            purchase("ann", "tea-1", NOW - 90_000),
            *(click("ann", f"phone-{at}", NOW - 60_000 + 1_000 * at) for at in range(4)),
            search("ann", "books", NOW - 40_000),
            click("cem", "phone-2", NOW - 30_000),
            click("cem", "phone-3", NOW - 20_000),
            search("bob", "tea", NOW - 10_000),
        ]
        await recommend(opened, records_of(events))
        await opened.candidates.refresh_popular()
        yield opened


def shown(explained: Explanation) -> list[tuple[str, float]]:
    return [(each.item_id, each.score) for each in explained.list.items]


PARTS_OF_A_SCORE = "network", "repeat", "together", "popular", "chosen", "unknown"


@pytest.mark.parametrize("query", [None, *QUERIES])
async def test_the_parts_of_a_score_add_up_to_it(parts: Parts, query: str | None) -> None:
    explained = await explain_user(parts, "ann", query)
    assert len(explained.items) == parts.list_length
    for item, taken_apart in zip(explained.list.items, explained.items, strict=True):
        assert taken_apart.item_id == item.item_id
        assert set(taken_apart.parts) == set(PARTS_OF_A_SCORE)
        assert sum(taken_apart.parts.values()) == pytest.approx(item.score, abs=4e-4)
        assert (taken_apart.match > 0) == ("search" in item.sources)
        assert (taken_apart.parts["repeat"] > 0) == ("repeat" in item.sources)
        assert (taken_apart.parts["together"] > 0) == ("together" in item.sources)
        amounts = [each.amount for each in taken_apart.losses]
        assert amounts == sorted(amounts, reverse=True)
        assert 0 not in amounts


async def test_an_explanation_says_what_the_profile_holds(parts: Parts) -> None:
    explained = await explain_user(parts, "ann")
    assert (explained.interactions, explained.purchases, explained.searches) == (5, 1, 1)
    assert (await explain_user(parts, "ann", "tea")).searches == 2
    assert explained.explain_ms > 0
    assert set(explained.list.step_ms) == {"profiles", "candidates", "rank", "rerank"}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("user", ["ann", "bob", "a stranger"])
async def test_a_query_makes_the_list_that_a_search_gets(
    parts: Parts, user: str, query: str
) -> None:
    parts = dataclasses.replace(parts, telling=Telling(("zh", "en"), "leave_one_out"))
    asked = await recommend_user(parts, user, query)
    explained = await explain_user(parts, user, query)
    (made,) = (await recommend(parts, records_of([search(user, query, NOW)], first=50))).lists
    assert asked.query == made.query == query
    assert explained.list.items == asked.items == made.items
    assert decode_recommendation(encode_recommendation(asked)) == asked


async def test_looking_changes_nothing(parts: Parts) -> None:
    async def state() -> dict[bytes | str, bytes | None]:
        redis = parts.store.redis
        return {key: await redis.dump(key) for key in await redis.keys("*")}

    before, editions = await state(), (parts.catalog.edition, parts.catalog.bias_edition)
    for user in ("ann", "a stranger"):
        for query in (None, "智能手机"):
            await explain_user(parts, user, query)
            await recommend_user(parts, user, query)
    assert before
    assert await state() == before
    assert (parts.catalog.edition, parts.catalog.bias_edition) == editions


async def test_looking_twice_shows_the_same(parts: Parts) -> None:
    first, second = [await explain_user(parts, "ann", "tea") for _ in range(2)]
    assert shown(first) == shown(second)
    assert first.items == second.items


@pytest.mark.parametrize("query", [None, "tea", "books"])
async def test_who_is_known(parts: Parts, query: str | None) -> None:
    known = {user: await explain_user(parts, user, query) for user in ("ann", "bob", "nobody")}
    assert {user: each.is_known for user, each in known.items()} == {
        "ann": True, "bob": True, "nobody": False,
    }  # fmt: skip


async def test_a_stranger_gets_what_every_stranger_gets(parts: Parts) -> None:
    one, two = await explain_user(parts, "a stranger"), await explain_user(parts, "用户")
    assert shown(one) == shown(two)
    assert all(each.losses == () for each in one.items)


async def test_an_empty_catalogue_has_nothing_to_explain(redis_url: str, bundle: Bundle) -> None:
    async with open_parts(redis_url, bundle=bundle) as parts:
        explained = await explain_user(parts, "ann", "tea")
        assert (explained.list.items, explained.items) == ((), ())


@pytest.mark.parametrize(
    ("user", "query"), [("ann", ""), ("ann", "x" * 513), ("", "tea"), ("ann", "\udcff")]
)
async def test_what_no_event_could_ask_is_refused(parts: Parts, user: str, query: str) -> None:
    with pytest.raises(ContractError):
        await explain_user(parts, user, query)


async def test_an_explanation_can_be_read_by_machines(parts: Parts) -> None:
    explained = await explain_user(parts, "ann", "智能手机")
    assert msgspec.json.decode(msgspec.json.encode(explained), type=Explanation) == explained


def test_terms_of_the_blend_add_up_to_it() -> None:
    rng = np.random.default_rng(0)
    columns = {
        name: rng.random((3, 7)).astype(np.float32)
        for name in Signals.__struct_fields__
        if name != "rows"
    }
    signals = Signals(rows=rng.integers(0, 5, (3, 7)), **columns)
    weights = BlendWeights(network=0.7, repeat=0, covisit=2, covisit_scale=0.2, unknown=-0.4)
    terms = blend_parts(weights, signals)
    assert set(terms) == {"network", "together", "chosen", "unknown"}
    assert np.allclose(sum(terms.values()), blend(weights, signals), atol=1e-6)
    assert np.allclose(terms["network"], np.float32(0.7) * signals.network, atol=1e-6)
