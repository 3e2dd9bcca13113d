"""A bandit tries new and little shown items, and a good one earns its traffic."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from model.bundle import Bundle, load_bundle
from model.events import Click, Impression
from model.features import Vocabulary
from model.items import Item
from model.quotas import SourceQuotas
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.exploration import ARMS, DRAWS, NEW_ARMS, NO_LOOKS, Exploration, Looks
from serving.exposure import ResponseCells
from serving.parts import Parts
from serving.position_bias import FLOOR, propensities
from serving.recommend import recommend
from serving.recommendation import Recommendation
from tests.parts import NOW, click, open_parts, records_of, search
from tests.tiny import tiny_bundle

SHOP = [f"i{at:02}" for at in range(30)]
FEW = SHOP[:12]
"""Known to the network and popular."""
EVERY_DRAW = np.arange(DRAWS)


def shop(count: int) -> Catalog:
    catalog = Catalog(Vocabulary([]))
    for at in range(count):
        catalog.put(Item(item_id=f"i{at}"))
    return catalog


def explored(catalog: Catalog, looks: Looks = NO_LOOKS, *, most: int = 1) -> Exploration:
    made = Exploration(catalog, most)
    made.refresh(looks, np.zeros(len(catalog.items)), (5.0, 100.0))
    return made


def shares(exploration: Exploration, rows: int) -> list[float]:
    """How often each row is tried."""
    picked = exploration.picks(EVERY_DRAW, 1)[:, 0]
    found: list[float] = (np.bincount(picked, minlength=rows) / DRAWS).tolist()
    return found


def test_items_of_which_nothing_is_known_are_tried_alike() -> None:
    tried = shares(explored(shop(4)), 4)
    assert tried == pytest.approx([0.25] * 4, abs=0.1)


def test_what_is_clicked_more_is_tried_more() -> None:
    looks = Looks(np.arange(3), np.full(3, 100.0), np.array([2.0, 5.0, 20.0]))
    tried = shares(explored(shop(3), looks), 3)
    assert tried[2] > 0.9
    assert tried[0] <= tried[1]


def test_what_is_popular_or_was_tried_enough_is_no_arm() -> None:
    catalog = shop(4)
    made = Exploration(catalog, 1)
    looks = Looks(np.array([1]), np.array([1_000.0]), np.array([900.0]))
    made.refresh(looks, np.array([500.0, 0, 0, 0]), (5.0, 100.0))
    assert set(made.picks(EVERY_DRAW, 1)[:, 0].tolist()) == {2, 3}


def test_a_place_holds_different_items_that_may_be_recommended() -> None:
    catalog = shop(6)
    made = explored(catalog, most=3)
    picked = made.picks(EVERY_DRAW, 3)
    assert all(len(set(row)) == 3 for row in picked.tolist())
    catalog.remove("i0")
    assert 0 not in made.picks(EVERY_DRAW, 3)
    for at in range(1, 5):
        catalog.remove(f"i{at}")
    assert set(made.picks(EVERY_DRAW, 3)[:, 1:].ravel().tolist()) == {-1}


def test_a_draw_gives_the_same_items_again() -> None:
    catalog = shop(1_000)
    one, other = explored(catalog), explored(catalog)
    assert np.array_equal(one.picks(EVERY_DRAW, 1), other.picks(EVERY_DRAW, 1))
    assert np.array_equal(one.picks(EVERY_DRAW + DRAWS, 1), one.picks(EVERY_DRAW, 1))


def test_a_new_item_is_an_arm_before_anything_is_read_again() -> None:
    catalog = shop(4)
    made = explored(catalog)
    catalog.put(Item(item_id="new"))
    assert shares(made, 5)[4] == pytest.approx(0.2, abs=0.1)


def test_a_flood_of_items_leaves_as_many_arms() -> None:
    catalog = shop(3 * ARMS)
    made = explored(catalog)
    assert len(made._arms) == ARMS
    for at in range(5 * NEW_ARMS):
        catalog.put(Item(item_id=f"flood {at}"))
        made.picks(EVERY_DRAW[:2], 1)
    assert len(made._arms) == ARMS + NEW_ARMS
    assert made._arms[-1] == len(catalog.items) - 1


def test_an_empty_shop_has_nothing_to_try() -> None:
    assert explored(shop(0)).picks(np.arange(3), 2).tolist() == [[-1, -1]] * 3


def cells(shown: list[float], clicked: list[float]) -> ResponseCells:
    count = len(shown)
    return ResponseCells(
        np.repeat([0, 1], count),
        np.ones(2 * count, np.int64),
        np.tile(np.arange(1, count + 1), 2),
        np.array([*shown, *clicked]),
    )


def test_positions_are_worth_their_click_through_beside_the_first() -> None:
    worth = propensities(cells([1e6, 1e6, 1e6], [200_000, 100_000, 50_000]))
    assert worth[1:4].tolist() == pytest.approx([1, 0.5, 0.25], rel=1e-3)
    assert worth[50] == worth[3]


def test_a_position_of_few_impressions_is_worth_what_the_one_above_is() -> None:
    worth = propensities(cells([1e6, 1e6, 2], [200_000, 100_000, 0]))
    assert worth[3] == pytest.approx(0.5 * 50 / 52, rel=1e-3)
    assert propensities(cells([1e6, 1e6], [200_000, 1]))[2] == FLOOR
    assert propensities(cells([1e6, 1e6], [100_000, 200_000]))[2] == 1
    assert (propensities(cells([0, 10], [0, 5])) == 1).all()


# The whole loop: lists, impressions and clicks, on a real Redis and a real network.


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("exploration") / "bundle"
    tiny_bundle(path, FEW, top_k=10)
    return load_bundle(path)


def exploring(parts: Parts, bundle: Bundle, places: int) -> CandidateSources:
    version = bundle.manifest.version
    return CandidateSources(
        parts.catalog, parts.counts, repeat_half_life_days=60,
        quotas=SourceQuotas(new=places), bundle=version, now_ms=lambda: NOW,
    )  # fmt: skip


async def opened_lists(parts: Parts, first: int, count: int) -> list[Recommendation]:
    """Lists of so many newcomers."""
    events = [click(f"u{first + at}", FEW[at % len(FEW)]) for at in range(count)]
    lists = (await recommend(parts, records_of(events, first=first))).lists
    await parts.store.keep(lists)
    return lists


def new_items(lists: list[Recommendation]) -> Counter[str]:
    return Counter(item.item_id for made in lists for item in made.items if "new" in item.sources)


async def test_lists_keep_a_place_for_what_the_bandit_picks(redis_url: str, bundle: Bundle) -> None:
    items = [Item(item_id=name, title=name) for name in SHOP]
    async with open_parts(redis_url, items, bundle=bundle, list_length=5) as parts:
        plain = await opened_lists(parts, 0, 20)
        parts = replace(parts, candidates=exploring(parts, bundle, 2))
        await parts.candidates.refresh_popular()
        tried = await opened_lists(parts, 100, 20)
        for made in tried:
            assert len(made.items) == len({item.item_id for item in made.items}) == 5
            marked = ["new" in item.sources for item in made.items]
            assert marked[-2:] == [True, True]
        assert not new_items(plain)
        # A search is answered by what fits it.
        records = records_of([search("v", "i01")], first=200)
        (answer,) = (await recommend(parts, records)).lists
        assert not any("new" in item.sources for item in answer.items)
        # A list that is made again is the same.
        (one,), (other,) = [
            (await recommend(parts, records_of([event], first=300))).lists
            for event in [click("w", FEW[0])] * 2
        ]
        assert one.items == other.items


async def test_a_new_item_is_tried_in_the_micro_batch_after_its_record(
    redis_url: str, bundle: Bundle
) -> None:
    items = [Item(item_id=name, title=name) for name in SHOP]
    async with open_parts(redis_url, items, bundle=bundle, list_length=5) as parts:
        parts = replace(parts, candidates=exploring(parts, bundle, 2))
        await parts.candidates.refresh_popular()
        parts.catalog.put(Item(item_id="just in"))
        assert new_items(await opened_lists(parts, 0, 100))["just in"] > 0


async def test_a_good_new_item_earns_its_traffic(redis_url: str, bundle: Bundle) -> None:
    """Nobody knows which of 18 new items is good; shoppers click that one four times in ten."""
    chance = np.random.default_rng(3)
    items = [Item(item_id=name, title=name) for name in SHOP]
    async with open_parts(redis_url, items, bundle=bundle, list_length=5) as parts:
        parts.store.attribution_ms = 3_600_000
        parts = replace(parts, candidates=exploring(parts, bundle, 1))
        good, shares = SHOP[20], []
        offset = 0
        for _ in range(8):
            await parts.candidates.refresh_popular()
            lists = await opened_lists(parts, offset, 60)
            offset += 60
            tried = new_items(lists)
            shares.append(tried[good] / sum(tried.values()))
            events: list[Impression | Click] = []
            for made in lists:
                ids = tuple(item.item_id for item in made.items)
                events.append(Impression(event_id=f"i{made.rec_id}", user_id=made.user_id, ts=NOW,
                                         rec_id=made.rec_id, item_ids=ids))  # fmt: skip
                for item in ids:
                    if chance.random() < (0.4 if item == good else 0.03):
                        events.append(Click(event_id=f"c{made.rec_id}{item}", ts=NOW, item_id=item,
                                            user_id=made.user_id, rec_id=made.rec_id))  # fmt: skip
            await recommend(parts, records_of(events, first=offset))
            offset += len(events)
        assert shares[0] < 0.2
        assert max(shares) > 0.5, shares
