"""The learned re-ranking: its features, that it learns what no fixed weights can, and its lists."""

import numpy as np
import pytest

from model.item_facts import item_facts
from model.method import Scores
from model.mixture import Mixture
from model.pool_features import OLDEST, competition_ranks, pool_features
from model.ranks import judge
from model.reranker import Reranker
from model.reranking_network import RerankingSettings, learn_reranking
from model.sequences import Cases, Sequences
from tests.test_mixture import FEW, IDS, ITEMS, Table, chance, ndcg, questions

QUICK = RerankingSettings(width=16, dropout=0.0, epochs=60, cases=32, members=1)


def test_ranks_of_a_pool_share_a_place_and_ignore_the_order_of_items() -> None:
    values = np.array([0.2, 0.5, 0.2, 0.1, 0.3, 0.3, 0.9], np.float32)
    found = competition_ranks(values, np.array([0, 4, 7]))
    assert found.tolist() == [1, 0, 1, 3, 1, 1, 0]
    assert competition_ranks(values[:0], np.array([0])).tolist() == []


def test_features_say_what_the_history_has_to_do_with_an_item() -> None:
    histories = Sequences.from_lists([[3, 5, 3], [7], []], IDS)
    facts = item_facts(Sequences.from_lists([[7, 7, 7], [3]], IDS), in_order=False)
    starts, items = np.array([0, 2, 4, 5]), np.array([3, 5, 6, 7, 7], np.int32)
    shares = {"one": np.array([0.5, 0.25, 0.0, 1.0, 0.0], np.float32)}
    found = pool_features(starts, items, shares, histories, facts)
    assert found["history.age_of_item"].tolist() == [0, 1, OLDEST, 0, OLDEST]
    assert found["history.holds_item"].tolist() == [1, 1, 0, 1, 0]
    np.testing.assert_allclose(np.expm1(found["history.log_times_of_item"]), [2, 1, 0, 1, 0])
    np.testing.assert_allclose(np.expm1(found["history.log_length"]), [3, 3, 1, 1, 0])
    np.testing.assert_allclose(np.expm1(found["history.count_of_newest"]), [1, 1, 3, 3, 0])
    np.testing.assert_allclose(np.expm1(found["item.count"]), [1, 0, 0, 3, 3])
    np.testing.assert_allclose(found["one.behind_best"][:2], [0, np.log(0.5)], rtol=1e-4)
    assert all(values.dtype == np.float32 for values in found.values())


def test_how_new_an_item_is_is_known_where_sequences_have_an_order() -> None:
    train = Sequences.from_lists([[0]] * 200 + [[1]] * 100, IDS)
    assert item_facts(train, in_order=False).keys() == {"count"}
    facts = item_facts(train, in_order=True)
    assert facts["first"][:3].tolist() == pytest.approx([0, 2 / 3, 1])
    assert np.expm1(facts["count_of_newest_0.3"][:3]).tolist() == pytest.approx([0, 90, 0], rel=0.1)
    assert facts["trend_of_newest_0.3"][0] < 0 < facts["trend_of_newest_0.3"][1]


def test_times_are_an_order() -> None:
    items, starts = np.array([0, 1, 0, 1], np.int32), np.array([0, 2, 4])
    train = Sequences(items, starts, IDS, times=np.array([10, 20, 11, 19]))
    assert item_facts(train, in_order=False)["first"][:2].tolist() == [0, 0.5]


COUNT = 300
"""Cases, and items of their catalogue: case n ends with item n."""


class ByNewest(Table):
    """Scores by the newest item of a history."""

    def scores(self, histories: Sequences) -> Scores:
        return self.table[histories.items[histories.starts[1:] - 1]].copy()


def planted() -> tuple[Cases, dict[str, Table]]:
    """One method is right of short histories and the other of long ones, both always as sure:
    weights that are the same for all cases cannot tell."""
    drawn, every = chance(), np.arange(COUNT)
    answers, wrong = drawn.integers(0, COUNT, (2, COUNT))
    short = drawn.random(COUNT) < 0.5
    said = drawn.random((2, COUNT, COUNT)).astype(np.float32)
    said[0, every, np.where(short, answers, wrong)] = 30.0
    said[1, every, np.where(short, wrong, answers)] = 30.0
    rows = [[n] if short[n] else [n] * 4 for n in every.tolist()]
    histories = Sequences.from_lists(rows, [str(n) for n in every])
    cases = Cases(histories, answers.astype(np.int32), np.arange(COUNT + 1), seen_excluded=False)
    return cases, {"one": ByNewest(said[0]), "other": ByNewest(said[1])}


def test_it_learns_what_no_weights_can() -> None:
    cases, sources = planted()
    fixed = Mixture(ndcg, sources, budget=FEW, best=20)
    fixed.fit(cases.histories, cases)
    method = Reranker(ndcg, sources, settings=QUICK, best=20)
    method.fit(cases.histories, cases)
    assert method.held_out is not None
    assert fixed.held_out is not None
    assert method.held_out > fixed.held_out + 0.1


def test_all_items_are_ranked_and_the_pool_comes_first() -> None:
    drawn = chance()
    answers = drawn.permutation(ITEMS)
    table = drawn.random((ITEMS, ITEMS)).astype(np.float32)
    table[np.arange(ITEMS), answers] += 0.5
    cases = questions([[int(item)] for item in answers])
    source = Table(table)
    method = Reranker(ndcg, {"one": source}, settings=QUICK, best=5)
    method.fit(cases.histories, cases)
    scores = method.scores(cases.histories)
    assert scores.shape == (ITEMS, ITEMS)
    assert ((scores > 1).sum(axis=1) == 5).all()
    top = np.argsort(-table, axis=1)[:, :5]
    assert float(np.take_along_axis(scores, top, axis=1).min()) >= 2
    # Behind the pool, the order of the only source.
    np.testing.assert_array_equal(np.argsort(-scores, axis=1)[:, 5:], np.argsort(-table)[:, 5:])
    method.refit(cases.histories)
    assert len(source.learned) == 2


def test_seen_items_take_no_place_in_the_pool() -> None:
    drawn = chance()
    table = drawn.random((ITEMS, ITEMS)).astype(np.float32)
    np.fill_diagonal(table, 9.0)
    answers = [[int(item)] for item in (np.arange(ITEMS) + 1) % ITEMS]
    cases = questions(answers, seen_excluded=True)
    method = Reranker(ndcg, {"one": Table(table)}, settings=QUICK, best=4)
    method.fit(cases.histories, cases)
    scores = method.scores(cases.histories)
    assert float(np.diag(scores).max()) <= 1
    assert ((scores > 1).sum(axis=1) == 4).all()
    assert len(judge(method, cases)) == ITEMS


def test_the_same_seed_gives_the_same_graph() -> None:
    drawn = chance()
    features = drawn.random((90, 4)).astype(np.float32)
    starts = np.arange(0, 91, 9)
    arguments = features, starts, starts[:-1] + 2, np.arange(11)
    one, same = (learn_reranking(*arguments, QUICK, seed=3) for _ in range(2))
    assert one == same
    assert learn_reranking(*arguments, QUICK, seed=4) != one


def test_what_cannot_be_learned_is_said() -> None:
    cases, sources = planted()
    with pytest.raises(ValueError, match="at least one"):
        Reranker(ndcg, {})
    with pytest.raises(ValueError, match="validation"):
        Reranker(ndcg, sources).fit(cases.histories)
    with pytest.raises(ValueError, match="fit first"):
        Reranker(ndcg, sources).scores(cases.histories)
    with pytest.raises(ValueError, match="nothing to learn"):
        none = np.array([0, 0]), np.empty(0, np.int64)
        learn_reranking(np.ones((2, 3), np.float32), np.array([0, 2]), none[1], none[0], QUICK, 0)
