"""New items of a catalogue are scored by their content, as the network scores those it knows."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.cold_items import NEWEST
from model.features import FIRST_ITEM, Interactions
from model.ids import item_hashes
from model.item_index import ItemIndex
from model.items import Item
from model.network import Network
from serving import new_item_vectors
from serving.catalog import Catalog
from serving.execution import Execution
from serving.new_item_vectors import NewItemVectors
from serving.ranker import Ranker, Scores
from serving.recommend import recommend
from tests.parts import click, open_parts, records_of
from tests.tiny import tiny_bundle

SHOP = [
    Item(item_id=f"{colour}-{thing}", title=f"{colour} {thing}", category=(thing,))
    for colour in ("green", "black", "white", "red")
    for thing in ("tea", "mug", "bag", "cup", "pot")
]
IDS = [item.item_id for item in SHOP]
TWIN = Item(item_id="twin", title="Green tea", category=("tea",))
"""Says what the first item of the shop says."""
NETWORK_ALONE = BlendWeights(network=1, repeat=0, covisit=0, popular=0)


def content_alone(network: Network) -> None:
    """Ids say nothing, so that whoever says the same is the same."""
    assert network.tower is not None
    assert network.cold_bias is not None
    torch.nn.init.normal_(network.tower.token_table.weight)
    torch.nn.init.constant_(network.cold_bias, 0.25)
    with torch.no_grad():
        network.item_table.weight.zero_()
        rows = torch.arange(network.config.vocabulary_size)
        network.item_bias.copy_(network.item_biases(rows, torch.zeros(len(rows), dtype=torch.bool)))


@pytest.fixture(scope="module", params=["all items scored", "an index"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("tower") / "bundle"
    tiny_bundle(
        path, IDS, top_k=20, catalog=SHOP, shaped=content_alone, blend=NETWORK_ALONE,
        index=request.param == "an index",
    )  # fmt: skip
    return load_bundle(path)


def test_a_bundle_without_a_tower_has_no_graph_of_one(tmp_path: Path, bundle: Bundle) -> None:
    tiny_bundle(tmp_path / "plain", IDS)
    assert load_bundle(tmp_path / "plain").tower_path is None
    assert bundle.tower_path is not None
    assert bundle.tower_path.name in bundle.manifest.files


async def test_a_new_item_scores_as_a_known_one_that_says_the_same(
    redis_url: str, bundle: Bundle
) -> None:
    async with open_parts(redis_url, [*SHOP, TWIN], bundle=bundle) as parts:
        outcome = await recommend(
            dataclasses.replace(parts, list_length=30), records_of([click("u", "black-mug")])
        )
        scores = {each.item_id: each.score for each in outcome.lists[0].items}
    assert scores["twin"] == pytest.approx(scores["green-tea"], abs=2e-4)
    assert len(set(scores.values())) > 15


async def test_a_new_item_is_listed_as_soon_as_it_is_taken_in(
    redis_url: str, bundle: Bundle
) -> None:
    async with open_parts(redis_url, SHOP, bundle=bundle) as parts:
        vectors = parts.new_item_vectors
        assert vectors is not None
        assert len(vectors) == 0

        async def best_of(user: str) -> list[str]:
            outcome = await recommend(parts, records_of([click(user, "black-mug")]))
            return [each.item_id for each in outcome.lists[0].items]

        first = (await best_of("a"))[0]
        told = next(item for item in SHOP if item.item_id == first)
        parts.catalog.put(renamed(told, "new"))
        assert "new" not in await best_of("b"), "no row without a vector is near"
        vectors.take_in()
        assert len(vectors) == 1
        assert "new" in (await best_of("c"))[:2]
        parts.catalog.remove("new")
        assert "new" not in await best_of("d")


def renamed(item: Item, item_id: str) -> Item:
    """The same under another id."""
    return Item(item_id=item_id, title=item.title, category=item.category)


def test_the_states_are_those_that_known_items_are_scored_by(bundle: Bundle) -> None:
    ranker = Ranker(bundle, Execution("cpu"))
    history = Interactions(
        item_hashes(IDS[:3]), np.full(3, 5, np.uint8), np.array([1_000, 2_000, 9_000])
    )
    nobody = Interactions(item_hashes([]), np.empty(0, np.uint8), np.empty(0, np.int64))
    rows = np.array([[FIRST_ITEM], [FIRST_ITEM]])
    no_bias = np.zeros(len(bundle.vocabulary), np.float32)
    found = ranker.rank([history, nobody], rows, no_bias, None)
    assert found.states is not None
    assert found.states[:, -1].tolist() == [1.0, 1.0]
    catalog = open_catalog(bundle, [TWIN])
    new, scores = catalog.nearest(found)
    assert new.tolist() == [[0], [0]]
    np.testing.assert_allclose(scores, found.candidate_scores, atol=1e-4)


def open_catalog(
    bundle: Bundle, items: list[Item], index: ItemIndex | None = None
) -> NewItemVectors:
    """Vectors of a catalogue of these items."""
    catalog = Catalog(bundle.vocabulary)
    for item in items:
        catalog.put(item)
    assert bundle.tower_path is not None
    vectors = NewItemVectors(bundle.tower_path, catalog, index)
    while vectors.waiting:
        vectors.take_in()
    return vectors


def test_what_was_replaced_gets_no_vector(bundle: Bundle) -> None:
    again = Item(item_id="twin", title="another title", category=("tea",))
    assert len(open_catalog(bundle, [TWIN, again, SHOP[0]])) == 1
    assert len(open_catalog(bundle, [TWIN, Item(item_id="off", available=False)])) == 2


OTHERS = [
    Item(item_id=f"other-{number}", title=f"thing {number}", category=("bag",))
    for number in range(NEWEST + 200)
]
"""Newer ones, as many as push an item out of those that are scored."""


@pytest.mark.parametrize("scored", [100, 100_000])
async def test_with_an_index_all_new_items_are_found_and_else_those_that_came_last(
    redis_url: str, bundle: Bundle, scored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_item_vectors, "SCORED", scored)
    async with open_parts(redis_url, [*SHOP, TWIN, *OTHERS], bundle=bundle) as parts:
        vectors = parts.new_item_vectors
        assert vectors is not None
        assert len(vectors) == 1 + len(OTHERS)

        def found() -> list[int]:
            history = Interactions(
                item_hashes(["black-tea"]), np.full(1, 5, np.uint8), np.array([1_000])
            )
            rows = np.array([[FIRST_ITEM]])
            scores = parts.ranker.rank([history], rows, parts.catalog.item_bias, None)
            return sorted(vectors.nearest(aimed_at(vectors, scores, TWIN)).rows[0].tolist())

        row = parts.catalog.row_of("twin")
        assert (row in found()) == (parts.ranker.index is not None)
        parts.catalog.remove("twin")
        assert row not in found()


def aimed_at(vectors: NewItemVectors, found: Scores, item: Item) -> Scores:
    """A user who looks for what says the same as this one."""
    (vector,) = vectors._tower.vectors([item])
    state = np.append(4 * vector[:-1], 1).astype(np.float32)[None]
    return dataclasses.replace(found, states=state)


@pytest.mark.parametrize("bundle", ["an index"], indirect=True)
def test_lists_of_an_index_give_the_scores_of_the_product(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = Ranker(bundle, Execution("cpu"))
    assert ranker.index is not None
    chance = np.random.default_rng(4)
    states = chance.normal(size=(5, ranker.index.vectors.shape[1])).astype(np.float32)
    states[:, -1] = 1
    no = np.empty((5, 0))
    asked = Scores(no.astype(np.int64), no.astype(np.float32), no.astype(np.float32), states)
    vectors = open_catalog(bundle, OTHERS[:500], ranker.index)
    vectors._catalog.put(sold_out(OTHERS[3]))
    exact = vectors.nearest(asked)
    monkeypatch.setattr(new_item_vectors, "SCORED", 0)
    ranker.index.probed = ranker.index.lists
    found = vectors.nearest(asked)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-4, atol=1e-4)
    assert not np.isin(3, found.rows)


def sold_out(item: Item) -> Item:
    """The same, sold out."""
    return Item(item_id=item.item_id, title=item.title, category=item.category, available=False)
