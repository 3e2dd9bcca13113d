"""One suite for every method: a pattern that is known because it was planted."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from model.choice import Budget
from model.ease import Ease, EaseSettings
from model.factorization import Factorization, FactorSettings
from model.neighbours import ItemNeighbours, NeighbourSettings, once_each
from model.popularity import Popularity
from model.ranks import Ranks, judge
from model.sequence_neighbours import SequenceNeighbours
from model.sequences import Cases, Sequences
from model.transitions import Transitions
from model.tuned import Tuned
from tests.sequence_shop import letters, named

HALF = 8
BUDGET = Budget(trials=6)


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


needs_implicit = pytest.mark.skipif(
    find_spec("implicit") is None, reason="implicit is not installed: pip install implicit"
)
MAKERS: dict[str, Callable[[], Tuned[Any, Any]]] = {
    "item_knn": lambda: ItemNeighbours(ndcg, budget=BUDGET),
    "ease": lambda: Ease(ndcg, start=EaseSettings(30.0), budget=BUDGET),
    "als": lambda: Factorization(ndcg, start=FactorSettings(factors=4), budget=BUDGET),
    "sequence_knn": lambda: SequenceNeighbours(ndcg, budget=BUDGET),
    "counts": lambda: Transitions(ndcg, budget=BUDGET),
}
every_method = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[needs_implicit] * (name == "als")) for name in MAKERS]
)


def checkerboard(users: int = 60) -> tuple[Sequences, Cases]:
    """Even users take even items and odd ones odd items; each lacks one of its own, to be found."""
    chance = np.random.default_rng(4)
    lists, answers = [], []
    for user in range(users):
        own = chance.permutation(np.arange(HALF) * 2 + user % 2).tolist()
        lists.append(own[:-1])
        answers.append(own[-1])
    histories = Sequences.from_lists(lists, [f"item-{number}" for number in range(2 * HALF)])
    return histories, Cases.single(histories, np.array(answers, np.int32), seen_excluded=True)


@every_method
def test_the_missing_square_is_found(name: str) -> None:
    train, cases = checkerboard()
    method = MAKERS[name]()
    method.fit(train)
    assert judge(method, cases).hit(1).mean() == 1.0
    popular = Popularity(ndcg)
    popular.fit(train)
    assert judge(popular, cases).hit(1).mean() < 0.7


@every_method
def test_choosing_settings_does_not_make_it_worse_on_validation(name: str) -> None:
    train, cases = checkerboard()
    method, plain = MAKERS[name](), MAKERS[name]()
    plain.fit(train)
    method.fit(train, cases)
    assert ndcg(judge(method, cases)) >= ndcg(judge(plain, cases))
    assert method.choice is not None
    assert method.choice.value == ndcg(judge(method, cases))
    assert plain.settings().keys() == method.settings().keys()


@every_method
def test_scores_are_the_caller_s_to_keep_and_the_same_in_every_run(name: str) -> None:
    train, cases = checkerboard()
    some = cases.histories.take(np.arange(3))
    methods = [MAKERS[name](), MAKERS[name]()]
    for method in methods:
        method.fit(train)
    first = methods[0].scores(some).copy()
    methods[0].scores(some)[:] = -1
    assert first.shape == (3, 2 * HALF)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(methods[0].scores(some), first)
    np.testing.assert_allclose(methods[1].scores(some), first, rtol=1e-5)


@every_method
def test_a_stranger_without_a_history_is_served(name: str) -> None:
    train, _ = checkerboard()
    method = MAKERS[name]()
    method.fit(train)
    stranger = train.spans(np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert np.isfinite(method.scores(stranger)).all()


# --- by hand ---


def test_the_cosine_of_two_items() -> None:
    train = named(["ab", "ba", "aab", "ac", "d"])
    method = ItemNeighbours(ndcg, start=NeighbourSettings(shrinkage=0.0))
    method.fit(train)
    [scores] = method.scores(named(["a"], "abcd"))
    assert scores.tolist() == pytest.approx([0, 3 / np.sqrt(4 * 3), 1 / np.sqrt(4), 0])


def test_only_the_nearest_and_the_newest_count() -> None:
    train = named(["ab", "ab", "ac"])
    nearest = ItemNeighbours(ndcg, start=NeighbourSettings(neighbours=1, shrinkage=0.0))
    nearest.fit(train)
    [scores] = nearest.scores(named(["a"], "abc"))
    assert np.flatnonzero(scores).tolist() == [1]
    newest = ItemNeighbours(ndcg, start=NeighbourSettings(history=1))
    newest.fit(train)
    both, last = newest.scores(named(["ab", "b"], "abc"))
    np.testing.assert_array_equal(both, last)


def test_once_each_keeps_the_last_occurrence_and_what_belongs_to_it() -> None:
    found = named(["abac", "", "bb"])
    times = replace(found, times=np.arange(6), kinds=np.arange(6).astype(np.uint8))
    distinct = once_each(times)
    assert letters(distinct) == ["bac", "", "b"]
    assert distinct.known_times.tolist() == [1, 2, 3, 5]
    assert distinct.kinds is not None
    assert distinct.kinds.tolist() == [1, 2, 3, 5]


def test_ease_is_the_closed_form() -> None:
    train = named(["ab", "ab", "bc", "ac", "abc"])
    method = Ease(ndcg, start=EaseSettings(2.0))
    method.fit(train)
    occurs = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], float)
    # Column by column: a ridge regression on the other two items.
    weights = np.zeros((3, 3))
    for target in range(3):
        others = [item for item in range(3) if item != target]
        seen = occurs[:, others]
        normal = seen.T @ seen + 2.0 * np.eye(2)
        weights[others, target] = np.linalg.solve(normal, seen.T @ occurs[:, target])
    np.testing.assert_allclose(method.scores(named(["a", "bc"], "abc"))[0], weights[0], rtol=1e-5)


def test_ease_refuses_a_catalogue_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.ease.MOST_ITEMS", 2)
    with pytest.raises(ValueError, match="leave it out"):
        Ease(ndcg).fit(named(["abc"]))


@pytest.mark.skipif(find_spec("implicit") is not None, reason="implicit is installed")
def test_without_implicit_it_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match="pip install implicit"):
        Factorization(ndcg)
