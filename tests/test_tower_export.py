"""The item tower as a graph: what the network was trained with, for items of no vocabulary."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model import tower_export
from model.cold_items import ItemTower
from model.export import ExportError
from model.features import FIRST_ITEM, Vocabulary
from model.item_tokens import catalogue_content
from model.items import Item
from model.network import Network, NetworkConfig
from model.tower_export import TowerGraph, export_tower

ITEMS = [
    Item(item_id=str(number), title=f"{colour} {thing}", category=(thing,))
    for number, (colour, thing) in enumerate(
        (colour, thing) for colour in ("green", "black", "white") for thing in ("tea", "mug", "bag")
    )
]
VOCABULARY = Vocabulary([item.item_id for item in ITEMS])


def network(**changes: bool) -> Network:
    torch.manual_seed(1)
    config = NetworkConfig(len(VOCABULARY), length=4, dim=8, content_bias=True, **changes)
    made = Network(config, catalogue_content(ITEMS, VOCABULARY)).eval()
    assert made.tower is not None
    assert made.cold_bias is not None
    torch.nn.init.normal_(made.tower.token_table.weight)
    torch.nn.init.constant_(made.cold_bias, -3.0)
    return made


def test_an_item_outside_the_vocabulary_has_the_vector_of_one_that_says_the_same(
    tmp_path: Path,
) -> None:
    whole = network()
    assert export_tower(whole, tmp_path / "tower.onnx", ITEMS, VOCABULARY) < 1e-5
    tower = ItemTower(tmp_path / "tower.onnx")
    assert tower.width == 9
    new = [Item(item_id="new", title="Tea, BLACK", category=("tea",)), Item(item_id="bare")]
    told, bare = tower.vectors(new)
    row = torch.tensor([FIRST_ITEM + 3])
    nothing = torch.zeros(1, dtype=torch.bool)
    np.testing.assert_allclose(
        told[:-1], whole.item_vectors(row, nothing)[0].detach().numpy(), atol=1e-5
    )
    np.testing.assert_allclose(told[-1], whole.item_biases(row, nothing)[0].item(), atol=1e-5)
    assert bare.tolist() == [0.0] * 8 + [-3.0]


def test_many_items_are_what_each_is_alone(tmp_path: Path) -> None:
    export_tower(network(), tmp_path / "tower.onnx", ITEMS, VOCABULARY)
    tower = ItemTower(tmp_path / "tower.onnx")
    many = tower.vectors(ITEMS * 200)
    assert many.shape == (len(ITEMS) * 200, 9)
    for number, item in enumerate(ITEMS):
        np.testing.assert_allclose(many[number::9], np.repeat(tower.vectors([item]), 200, 0),
                                   atol=1e-6)  # fmt: skip
    assert tower.vectors([]).shape == (0, 9)


def test_a_tower_that_is_not_the_network_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A featurisation that differs between training and serving.
    monkeypatch.setattr(tower_export, "token_table", lambda items: np.zeros((len(items), 1), int))
    with pytest.raises(ExportError, match="item tower in ONNX Runtime and in torch differ"):
        export_tower(network(), tmp_path / "tower.onnx", ITEMS, VOCABULARY)
    assert not (tmp_path / "tower.onnx").exists()


def test_a_network_without_a_tower_has_no_graph_of_one() -> None:
    with pytest.raises(ValueError, match="train it with one"):
        TowerGraph(Network(NetworkConfig(len(VOCABULARY), length=4, dim=8)))
    with pytest.raises(ValueError, match="train without unit_items"):
        TowerGraph(network(unit_items=True))


def test_a_folded_network_keeps_the_vectors_and_biases_of_known_items() -> None:
    whole = network()
    plain = whole.folded()
    assert plain.tower is None
    assert torch.equal(plain.item_vectors(), whole.item_vectors())
    rows = torch.arange(len(VOCABULARY))
    assert torch.equal(plain.item_biases(rows), whole.item_biases(rows))
