"""The blend of methods: pools, weights, and what is left out."""

from collections.abc import Mapping

import numpy as np
import pytest

from model.choice import Budget
from model.method import Scores, Setting
from model.mixture import BUDGET, Mixture
from model.mixture_weights import Part, conditional_logit
from model.pools import Pools, counted_shares, gather, softmax_shares
from model.ranks import Ranks, judge, rank_targets
from model.sequences import Cases, Sequences

ITEMS = 40
IDS = [f"item-{number}" for number in range(ITEMS)]
FEW = Budget(seconds=20, trials=400, least_gain=BUDGET.least_gain, patience=BUDGET.patience)


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


class Table:
    """Scores by the number of a case, which is the one item of its history."""

    def __init__(self, table: Scores) -> None:
        self.table = table
        self.learned: list[Sequences] = []

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        self.learned.append(train)

    def refit(self, train: Sequences) -> None:
        self.learned.append(train)

    def scores(self, histories: Sequences) -> Scores:
        return self.table[histories.items].copy()

    def settings(self) -> Mapping[str, Setting]:
        return {}


def questions(answers: list[list[int]], *, seen_excluded: bool = False) -> Cases:
    """Case n has item n as its history."""
    histories = Sequences.from_lists([[number] for number in range(len(answers))], IDS)
    starts = np.zeros(len(answers) + 1, np.int64)
    np.cumsum([len(each) for each in answers], out=starts[1:])
    flat = np.array([item for each in answers for item in each], np.int32)
    return Cases(histories, flat, starts, seen_excluded)


def chance() -> np.random.Generator:
    return np.random.default_rng(11)


# --- pools ---


def one_each() -> list[list[int]]:
    return [[int(item)] for item in chance().integers(ITEMS, size=30)]


def some_each() -> list[list[int]]:
    return [sorted(chance().permutation(ITEMS)[: 1 + number % 4].tolist()) for number in range(30)]


@pytest.mark.parametrize("answers", [one_each(), some_each()], ids=["one", "some"])
@pytest.mark.parametrize("seen_excluded", [False, True])
def test_ranks_in_a_pool_of_everything_are_those_of_the_judge(
    answers: list[list[int]], seen_excluded: bool
) -> None:
    cases = questions(answers, seen_excluded=seen_excluded)
    # Few values, so that many are level.
    table = chance().integers(1, 5, (ITEMS, ITEMS)).astype(np.float32)
    shares = counted_shares(table[:30])
    method = Table(table)
    pools = gather({"only": lambda asked: counted_shares(method.scores(asked))}, cases, ITEMS)
    expected = rank_targets(shares.copy(), cases)
    found = pools.ranks(pools.shares["only"])
    has_several = len(expected) > len(cases)
    assert (expected == ITEMS + 1).any() == (seen_excluded and has_several)
    np.testing.assert_array_equal(found.ranks, expected)
    for second, cut in ((False, slice(0, 15)), (True, slice(15, 30))):
        half = pools.half(second=second)
        part = half.ranks(half.shares["only"]).ndcg(10)
        np.testing.assert_allclose(part, found.ndcg(10)[cut])


def test_a_pool_holds_the_best_of_each_and_the_answers() -> None:
    one, other = np.zeros((ITEMS, ITEMS), np.float32), np.zeros((ITEMS, ITEMS), np.float32)
    one[:, [3, 4]] = 1
    other[:, [4, 5]] = 1
    shares = {
        "one": lambda asked: counted_shares(one[asked.items]),
        "other": lambda asked: counted_shares(other[asked.items]),
    }
    pools = gather(shares, questions([[3], [9]]), best=2)
    assert np.diff(pools.starts).tolist() == [3, 4]
    assert pools.shares["one"].tolist() == [0.5, 0.5, 0, 0.5, 0.5, 0, 0]
    assert pools.answers.tolist() == [0, 6]
    assert pools.found.tolist() == [True, False]


def test_shares_are_of_one_whole() -> None:
    counts = counted_shares(np.array([[1.0, 3.0, -2.0], [0.0, 0.0, 0.0]]))
    assert counts.tolist() == [[0.25, 0.75, 0], [0, 0, 0]]
    logits = np.log([[1.0, 3.0]]) + 1000
    np.testing.assert_allclose(softmax_shares(logits), [[0.25, 0.75]], rtol=1e-3)


# --- weights ---


def test_strength_is_the_documented_formula() -> None:
    part = Part(weight=1.0, floor=0.1, unit=0.5)
    shares = np.array([0.5, 0.05, 0.0], np.float32)
    expected = np.log(1 + np.array([10, 1, 0])) / np.log(11)
    np.testing.assert_allclose(part.strength(shares), expected, rtol=1e-6)


def test_the_likeliest_weights_are_those_that_made_the_choices() -> None:
    drawn = chance()
    count = 3000
    features = drawn.random((count, ITEMS, 3)).astype(np.float32)
    utilities = features @ np.array([4.0, 2.0, 0.0]) + drawn.gumbel(size=(count, ITEMS))
    every = np.arange(count, dtype=np.int64)
    pools = Pools(
        starts=np.arange(count + 1, dtype=np.int64) * ITEMS,
        shares={},
        answers=every * ITEMS + utilities.argmax(axis=1),
        answer_starts=np.arange(count + 1, dtype=np.int64),
        found=np.ones(count, bool),
        excluded=np.zeros(count, bool),
        item_count=ITEMS,
        items=np.tile(np.arange(ITEMS, dtype=np.int32), count),
    )
    weights = conditional_logit([features[:, :, k].ravel() for k in range(3)], pools)
    assert weights[0] == 1.0
    assert weights[1] == pytest.approx(0.5, abs=0.06)
    assert weights[2] == pytest.approx(0.0, abs=0.05)
    against = conditional_logit([-features[:, :, 0].ravel(), features[:, :, 1].ravel()], pools)
    assert against == [0.0, 1.0]


# --- the mixture ---


def planted(count: int = ITEMS) -> tuple[Cases, dict[str, Table]]:
    """Two methods that each know half of the story, and one that knows nothing."""
    drawn = chance()
    answers = drawn.permutation(ITEMS)[:count]
    one, other = drawn.random((2, ITEMS, ITEMS)).astype(np.float32)
    one[np.arange(count), answers] += 0.6
    other[np.arange(count), answers] += 0.6
    noise = drawn.random((ITEMS, ITEMS)).astype(np.float32)
    sources = {"one": Table(one), "other": Table(other), "noise": Table(noise)}
    return questions([[int(item)] for item in answers]), sources


def test_it_does_better_than_each_and_leaves_out_what_knows_nothing() -> None:
    cases, sources = planted()
    method = Mixture(ndcg, sources, budget=FEW, best=ITEMS)
    method.fit(cases.histories, cases)
    alone = max(ndcg(judge(source, cases)) for source in sources.values())
    assert ndcg(judge(method, cases)) > alone + 0.05
    assert method.parts["noise"].weight == 0
    assert min(method.parts["one"].weight, method.parts["other"].weight) > 0
    assert method.choice is not None
    assert method.held_out is not None
    assert method.held_out > 0.5


def test_a_weight_of_nothing_is_either_part_alone() -> None:
    cases, sources = planted()
    method = Mixture(ndcg, sources)
    for name in sources:
        method.parts = {each: Part(float(each == name), floor=0.1, unit=0.1) for each in sources}
        expected = np.argsort(-counted_shares(sources[name].scores(cases.histories)), axis=1)
        found = np.argsort(-method.scores(cases.histories), axis=1)
        np.testing.assert_array_equal(found, expected)
        assert method.settings().keys() == {f"{name}.{field}" for field in vars(method.parts[name])}


def test_logits_and_counts_come_to_one_scale() -> None:
    cases, sources = planted()
    table = sources["one"].table
    logits = {"one": sources["one"], "same": Table(np.log(table) + 5)}
    method = Mixture(ndcg, logits, logits={"same"})
    method.parts = {"one": Part(1, 0.1, 0.1), "same": Part(0, 0.1, 0.1)}
    counted = method.scores(cases.histories)
    method.parts = {"one": Part(0, 0.1, 0.1), "same": Part(1, 0.1, 0.1)}
    np.testing.assert_allclose(method.scores(cases.histories), counted, rtol=1e-4)


def test_learning_anew_keeps_the_weights_and_spares_what_does_not_count() -> None:
    cases, sources = planted()
    method = Mixture(ndcg, sources, sources_fitted=True)
    method.fit(cases.histories)
    assert not sources["one"].learned
    method.parts = {name: Part(float(name != "noise"), 0.1, 0.1) for name in sources}
    parts = dict(method.parts)
    method.refit(cases.histories)
    assert method.parts == parts
    assert [len(sources[name].learned) for name in ("one", "other", "noise")] == [1, 1, 0]
    whole = Mixture(ndcg, sources, budget=Budget(trials=1))
    whole.fit(cases.histories, cases)
    assert len(sources["noise"].learned) == 1


def test_a_mixture_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mixture(ndcg, {})
