"""What stands near an item, as content."""

import numpy as np
import pytest

from model.content import ItemContent
from model.neighbour_content import OWN_WEIGHT, joined, neighbour_content
from model.ranks import Ranks
from model.sequences import Cases, Sequences
from model.transformer import Transformer
from model.transformer_settings import TransformerSettings

IDS = [str(number) for number in range(6)]


def bag(content: ItemContent, item: int) -> dict[int, float]:
    cells = slice(int(content.starts[item]), int(content.starts[item + 1]))
    return dict(zip(content.tokens[cells].tolist(), content.weights[cells].tolist(), strict=True))


def test_a_bag_holds_the_item_and_what_it_meets_most() -> None:
    train = Sequences.from_lists([[0, 1], [0, 1], [1, 0], [0, 2], [3, 4], [4, 3, 3]], IDS)
    content = neighbour_content(train, 1)
    found = bag(content, 0)
    assert found.keys() == {0, 1}
    assert found[0] == pytest.approx(OWN_WEIGHT * found[1])
    assert sum(weight**2 for weight in found.values()) == pytest.approx(1)
    assert bag(neighbour_content(train, 5), 0).keys() == {0, 1, 2}
    # An item that meets nothing is still itself.
    assert bag(content, 5) == {5: 1.0}
    assert content.token_count == len(content) == 6


def test_a_common_neighbour_says_less() -> None:
    rows = [[0, 1], [0, 2], *[[2, other] for other in (3, 4, 5)] * 3]
    found = bag(neighbour_content(Sequences.from_lists(rows, IDS), 5), 0)
    assert found[1] > 1.5 * found[2]


def test_two_bags_become_one() -> None:
    first = ItemContent(np.array([1, 0]), np.array([1, 0.5], np.float32), np.array([0, 1, 2]), 2)
    second = ItemContent(np.array([2, 0]), np.array([2, 3], np.float32), np.array([0, 2, 2]), 3)
    both = joined(first, second)
    assert bag(both, 0) == {1: 1.0, 4: 2.0, 2: 3.0}
    assert bag(both, 1) == {0: 0.5}
    assert both.token_count == 5
    with pytest.raises(ValueError, match="same catalogue"):
        joined(first, neighbour_content(Sequences.from_lists([[0, 1]], IDS), 1))


def test_an_item_that_was_hardly_seen_learns_from_its_neighbours() -> None:
    """Item 5 was seen once, between 0 and 1: what follows 0 is likely to follow it as well."""
    rows = [[number % 5, (number + 1) % 5, (number + 2) % 5] for number in range(200)]
    train = Sequences.from_lists([*rows, [5, 0]], IDS)
    asked = Sequences.from_lists([[5]], IDS)
    cases = Cases.single(asked, np.array([0], np.int32), seen_excluded=False)

    def chance_of_one(neighbours: int) -> float:
        settings = TransformerSettings(
            length=4, dim=16, epochs=4, dropout=0.0, neighbours=neighbours, counted_start=False
        )
        method = Transformer(_first, settings=settings, seed=1)
        method.fit(train)
        return float(method.scores(cases.histories)[0, 1])

    assert chance_of_one(3) > chance_of_one(0)


def _first(ranks: Ranks) -> float:
    return float(ranks.mrr(5).mean())
