"""Lists that may hold only some items, on a real Redis and a real network."""

import dataclasses
from collections.abc import AsyncIterator

import pytest

from model.bundle import Bundle, load_bundle
from model.items import Item
from serving.narrowed import OFFERED, Shelf
from serving.on_demand import Answer, Question, answer, fits_with
from serving.parts import Parts
from serving.policy import Policy
from serving.recommend import recommend, recommend_user
from serving.rules import Hide, Pin, Range, Rules, Selector
from tests.parts import NOW, click, open_parts, records_of
from tests.tiny import tiny_bundle

# Of each colour the last one is not in the network's vocabulary.
SHOP = [
    Item(
        item_id=f"{colour}-{at}",
        title=f"{colour} square {at}",
        category=("board", colour),
        brand=f"brand {at % 2}",
        price=float(at),
    )
    for at in range(13)
    for colour in ("black", "white")
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("narrowed") / "bundle"
    # Its own nearest reach 6 items: all else in a list has been offered.
    tiny_bundle(path, [item.item_id for item in SHOP[:-2]], top_k=6)
    return load_bundle(path)


@pytest.fixture(scope="module")
def bundle_with_tower(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("tower") / "bundle"
    tiny_bundle(path, [item.item_id for item in SHOP[:-2]], top_k=6, catalog=SHOP)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, SHOP, bundle=bundle) as opened:
        yield opened


async def ask(parts: Parts, *questions: Question) -> list[Answer]:
    return await answer(parts, Shelf(parts.catalog), questions)


def ids(made: Answer) -> list[str]:
    return [each.item_id for each in made.items]


async def test_named_items_are_all_ranked_and_nothing_else(parts: Parts) -> None:
    await recommend(parts, records_of([click("u", "white-3", NOW - 1)]))
    named = ("white-3", "black-12", "white-12", "black-5")
    (made,) = await ask(parts, Question(user_id="u", items=named))
    assert sorted(ids(made)) == sorted(named)
    assert [each.rank for each in made.items] == [1, 2, 3, 4]
    scores = [each.score for each in made.items]
    assert scores == sorted(scores, reverse=True)
    assert made.left_out == ()


async def test_an_item_scores_the_same_named_or_not(parts: Parts) -> None:
    free = {each.item_id: each.score for each in (await recommend_user(parts, "u")).items}
    (made,) = await ask(parts, Question(user_id="u", items=tuple(free)))
    assert {each.item_id: each.score for each in made.items} == pytest.approx(free, abs=1e-3)


async def test_new_items_are_scored_by_their_content(
    redis_url: str, bundle_with_tower: Bundle
) -> None:
    async with open_parts(redis_url, SHOP, bundle=bundle_with_tower) as parts:
        (made,) = await ask(parts, Question(user_id="u", items=("black-12", "white-12")))
    assert sorted(ids(made)) == ["black-12", "white-12"]
    one, other = made.items
    assert one.score != other.score, "what is unknown alike would score alike"


async def test_what_cannot_be_listed_is_left_out_and_told(parts: Parts) -> None:
    parts.catalog.remove("black-1")
    policy = Policy(parts.catalog, Rules(hide=(Hide(items=("black-2",)),)))
    ruled = dataclasses.replace(parts, policy=policy)
    named = ("black-1", "nothing", "black-2", "black-3", "black-3")
    (made,) = await ask(ruled, Question(user_id="u", items=named))
    assert ids(made) == ["black-3"]
    assert made.left_out == ("black-1", "nothing", "black-2")


async def test_a_rule_pins_no_item_that_was_not_named(parts: Parts) -> None:
    policy = Policy(parts.catalog, Rules(pin=(Pin(items=("white-9",), position=1),)))
    ruled = dataclasses.replace(parts, policy=policy)
    (free, named) = (
        (await ask(ruled, Question(user_id="u")))[0],
        (await ask(ruled, Question(user_id="u", items=("black-1", "black-2"))))[0],
    )
    assert ids(free)[0] == "white-9"
    assert sorted(ids(named)) == ["black-1", "black-2"]


async def test_no_item_at_all_is_an_empty_list(parts: Parts) -> None:
    (made,) = await ask(parts, Question(user_id="u", items=()))
    assert (made.items, made.left_out) == ((), ())


async def test_a_filter_fills_a_list_with_what_it_selects(parts: Parts) -> None:
    only = Selector(categories=("board",), brands=("brand 1",), price=Range(min=2, max=9))
    (made,) = await ask(parts, Question(user_id="u", only=only, count=20))
    expected = {f"{colour}-{at}" for colour in ("black", "white") for at in (3, 5, 7, 9)}
    assert set(ids(made)) == expected
    assert len(ids(made)) == len(expected), "each item once"


async def test_a_filter_and_named_items_hold_both(parts: Parts) -> None:
    only = Selector(brands=("brand 0",))
    (made,) = await ask(parts, Question(user_id="u", only=only, items=("black-1", "black-2")))
    assert ids(made) == ["black-2"]
    assert made.left_out == ("black-1",)


async def test_a_filter_by_age_counts_from_the_moment_of_the_question(parts: Parts) -> None:
    parts.catalog.put(Item(item_id="fresh", title="fresh", created=NOW - 3_600_000))
    (made,) = await ask(parts, Question(user_id="u", only=Selector(age_days=Range(max=1))))
    assert ids(made) == ["fresh"]


async def test_free_and_filtered_lists_of_one_batch_do_not_touch_each_other(parts: Parts) -> None:
    only = Selector(price=Range(min=12))
    questions = [
        Question(user_id="u"),
        Question(user_id="u", only=only),
        Question(user_id="v"),
    ]
    together = await ask(parts, *questions)
    alone = [(await ask(parts, each))[0] for each in questions]
    assert [ids(each) for each in together] == [ids(each) for each in alone]
    assert sorted(ids(together[1])) == ["black-12", "white-12"]


async def test_what_the_user_looks_at_is_not_listed(parts: Parts) -> None:
    first = ids((await ask(parts, Question(user_id="u")))[0])[0]
    (made,) = await ask(parts, Question(user_id="u", current_item=first))
    assert first not in ids(made)


async def test_named_lists_of_any_length_share_a_batch(parts: Parts) -> None:
    questions = [
        Question(user_id="u", items=("black-1", "black-2", "white-1")),
        Question(user_id="u", items=("black-1", "black-2", "white-1"), count=1),
        Question(user_id="u", items=("black-4",)),
    ]
    assert {fits_with(each) for each in questions} == {-1}
    long, short, single = await ask(parts, *questions)
    assert ids(short) == ids(long)[:1]
    assert short.left_out == tuple(item for item in ("black-1", "black-2", "white-1")
                                   if item != ids(short)[0])  # fmt: skip
    assert ids(single) == ["black-4"]


async def test_a_filter_offers_its_most_popular_items(redis_url: str, bundle: Bundle) -> None:
    many = [Item(item_id=f"m-{at}", title="many", brand="b") for at in range(OFFERED + 50)]
    async with open_parts(redis_url, many, bundle=bundle) as parts:
        await recommend(parts, records_of([click("other", f"m-{OFFERED + 49}", NOW - 1)]))
        await parts.candidates.refresh_popular()
        shelf = Shelf(parts.catalog)
        only = Selector(brands=("b",))
        (made,) = await answer(parts, shelf, [Question(user_id="u", only=only, count=1_000)])
        assert len(ids(made)) == OFFERED
        assert f"m-{OFFERED + 49}" in ids(made)
        # Nothing is offered that is gone since it was found.
        parts.catalog.remove(f"m-{OFFERED + 49}")
        (after,) = await answer(parts, shelf, [Question(user_id="u", only=only, count=1_000)])
        assert f"m-{OFFERED + 49}" not in ids(after)
