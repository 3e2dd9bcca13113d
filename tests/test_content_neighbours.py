"""Content similarity by hand."""

import numpy as np
import pytest

from model.content import ItemContent, item_content
from model.content_neighbours import ContentNeighbours, ContentSettings, cosines
from model.ranks import Ranks, judge
from model.sequences import Cases
from tests.sequence_shop import named

PLAIN = ContentSettings(history_decay=0.5, sharpness=1.0, popularity_power=0.0)


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def bags(rows: list[list[float]]) -> ItemContent:
    """Weights of tokens, one row an item, each scaled to length 1."""
    table = np.array(rows, np.float64)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    owners, tokens = np.nonzero(table)
    starts = np.searchsorted(owners, np.arange(len(table) + 1)).astype(np.int64)
    return ItemContent(tokens, table[owners, tokens].astype(np.float32), starts, table.shape[1])


def test_cosines_are_the_products_of_the_bags(monkeypatch: pytest.MonkeyPatch) -> None:
    # Several blocks, the last of them shorter.
    monkeypatch.setattr("model.content_neighbours.PRODUCT_CELLS", 150)
    chance = np.random.default_rng(2)
    rows = chance.random((40, 15)) * (chance.random((40, 15)) < 0.2)
    table = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    expected = table @ table.T
    np.fill_diagonal(expected, 0)
    found = cosines(bags(rows.tolist()), 40)
    full = np.zeros((40, 40))
    full[found.rows, found.columns] = found.values
    np.testing.assert_allclose(full, expected, atol=1e-6)
    few = cosines(bags(rows.tolist()), 3)
    assert np.diff(few.starts).max() == 3
    best = np.sort(expected, axis=1)[:, -3:].sum()
    assert few.values.sum() == pytest.approx(best, rel=1e-5)


def test_likeness_fades_with_age_and_favours_what_is_taken() -> None:
    content = bags([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 0]])
    train = named(["ab", "d", "d", "d"], "abcd")
    method = ContentNeighbours(ndcg, content, start=PLAIN)
    method.fit(train)
    half = np.sqrt(0.5)
    [newest, older] = method.scores(named(["a", "ac"], "abcd"))
    assert newest.tolist() == pytest.approx([0, half, 0, half])
    assert older.tolist() == pytest.approx([0, half / 2 + 0.5, 0, half / 2 + 0.5])
    settings = ContentSettings(history_decay=0.5, sharpness=2.0, popularity_power=1.0)
    popular = ContentNeighbours(ndcg, content, start=settings)
    popular.fit(train)
    [scores] = popular.scores(named(["a"], "abcd"))
    assert scores.tolist() == pytest.approx([0, 0.5 * 2, 0, 0.5 * 4])


def test_items_that_nobody_took_are_found_by_their_words() -> None:
    names = {
        item: ("red tea" if number % 2 else "blue mug") for number, item in enumerate("abcdef")
    }
    content = item_content(list("abcdef"), names)
    train = named(["ac", "bd"], "abcdef")
    answers = np.array([4, 5], np.int32)
    cases = Cases.single(named(["ac", "bd"], "abcdef"), answers, seen_excluded=True)
    method = ContentNeighbours(ndcg, content)
    method.fit(train, cases)
    assert judge(method, cases).hit(1).mean() == 1.0
    assert method.settings().keys() == {
        "history_decay",
        "sharpness",
        "popularity_power",
        "neighbours",
    }


def test_content_of_another_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="content of 2 items for a catalogue of 3"):
        ContentNeighbours(ndcg, bags([[1], [1]])).fit(named(["abc"]))
