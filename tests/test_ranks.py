"""Ranks and metrics by hand: ties, seen items, several answers."""

from collections.abc import Mapping

import numpy as np
import pytest

from model.method import Scores, Setting
from model.ranks import Ranks, judge, rank_targets, ranks_in_lists
from model.sequences import Cases, Sequences
from tests.sequence_shop import named


class Given:
    """Gives each history the scores of its newest item's row."""

    def __init__(self, table: list[list[float]]) -> None:
        self._table = np.array(table)

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """There is nothing to learn."""

    def refit(self, train: Sequences) -> None:
        """There is nothing to learn."""

    def scores(self, histories: Sequences) -> Scores:
        newest: Scores = self._table[histories.items[histories.starts[1:] - 1]]
        return newest

    def settings(self) -> Mapping[str, Setting]:
        return {}


def one(history: str, target: str, *, seen_excluded: bool, items: str = "abcde") -> Cases:
    answers = np.array([items.index(target)], np.int32)
    return Cases.single(named([history], items), answers, seen_excluded=seen_excluded)


def rank(scores: list[float], cases: Cases) -> int:
    return int(rank_targets(np.array([scores]), cases)[0])


def test_the_rank_is_among_all_items() -> None:
    scores = [0.1, 0.5, 0.4, 0.9, 0.3]
    assert [rank(scores, one("a", each, seen_excluded=False)) for each in "abcde"] == [
        5, 2, 3, 1, 4,
    ]  # fmt: skip


def test_seen_items_leave_the_ranking_and_as_answers_are_never_found() -> None:
    scores = [0.1, 0.5, 0.4, 0.9, 0.3]
    assert rank(scores, one("db", "c", seen_excluded=True)) == 1
    assert rank(scores, one("db", "b", seen_excluded=True)) == 6
    assert rank(scores, one("db", "c", seen_excluded=False)) == 3


def test_equal_scores_have_distinct_ranks_that_do_not_follow_the_numbers() -> None:
    items = "".join(chr(97 + number) for number in range(26))
    ranks = [rank([0.0] * 26, one("a", each, seen_excluded=False, items=items)) for each in items]
    assert sorted(ranks) == list(range(1, 27))
    assert ranks != sorted(ranks)
    again = [rank([0.0] * 26, one("a", each, seen_excluded=False, items=items)) for each in items]
    assert ranks == again


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        rank([0.1, bad, 0.2, 0.3, 0.4], one("a", "b", seen_excluded=False))


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        rank([0.1, 0.2], one("a", "b", seen_excluded=False))


def test_metrics_of_one_answer() -> None:
    ranks = Ranks(np.array([1, 3, 11]), np.arange(4))
    assert ranks.hit(10).tolist() == [1, 1, 0]
    assert ranks.recall(10).tolist() == [1, 1, 0]
    assert ranks.precision(10).tolist() == pytest.approx([0.1, 0.1, 0])
    assert ranks.ndcg(10).tolist() == pytest.approx([1, 0.5, 0])
    assert ranks.mrr(10).tolist() == pytest.approx([1, 1 / 3, 0])
    assert ranks.mrr(20).tolist() == pytest.approx([1, 1 / 3, 1 / 11])


def test_metrics_of_a_basket() -> None:
    # Three answers at 1, 3 and 9; then two, none of which is among the first two.
    ranks = Ranks(np.array([3, 1, 9, 4, 7]), np.array([0, 3, 5]))
    assert ranks.hit(2).tolist() == [1, 0]
    assert ranks.recall(4).tolist() == pytest.approx([2 / 3, 1 / 2])
    assert ranks.capped_recall(2).tolist() == pytest.approx([1 / 2, 0])
    assert ranks.precision(4).tolist() == pytest.approx([2 / 4, 1 / 4])
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ranks.ndcg(4)[0] == pytest.approx((1 + 1 / np.log2(4)) / best)
    # A list of two cannot hold three answers: two at the top would be perfect.
    assert ranks.ndcg(2)[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert ranks.mrr(4).tolist() == pytest.approx([1, 1 / 4])


def test_judging_in_batches_gives_every_case_its_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(1).random((5, 5))
    histories = named(list("abcdeabcde"), "abcde")
    targets = np.arange(10, dtype=np.int32)[::-1] % 5
    cases = Cases.single(histories, targets, seen_excluded=False)
    expected = [
        1 + int((table[number % 5] > table[number % 5, target]).sum())
        for number, target in enumerate(targets)
    ]
    for cells in (1, 15, 10_000):
        monkeypatch.setattr("model.ranks.BATCH_CELLS", cells)
        assert judge(Given(table.tolist()), cases).ranks.tolist() == expected


def test_nothing_to_judge_is_an_error() -> None:
    cases = Cases.single(named([], "a"), np.empty(0, np.int32), seen_excluded=False)
    with pytest.raises(ValueError, match="no case"):
        judge(Given([[1.0]]), cases)


def test_ranks_in_lists_by_hand() -> None:
    lists = np.array([[3, 1, 2], [4, -1, -1], [0, 1, -1]])
    targets = np.array([2, 9, 4, 0, 1], np.int32)
    found = ranks_in_lists(lists, targets, np.array([0, 2, 3, 5]))
    assert found.ranks.tolist() == [3, 4, 1, 1, 2]
    assert found.recall(3).tolist() == [0.5, 1.0, 1.0]
    assert found.mrr(3) == pytest.approx([1 / 3, 1, 1])
    assert found.hit(2).tolist() == [0, 1, 1]


def test_ranks_in_lists_are_those_of_the_whole_ranking() -> None:
    rng = np.random.default_rng(8)
    scores = rng.random((40, 30))
    cases = Cases.single(
        Sequences.from_lists([[0]] * 40, [str(number) for number in range(30)]),
        rng.integers(0, 30, 40).astype(np.int32),
        seen_excluded=False,
    )
    whole = Ranks(rank_targets(scores, cases), cases.target_starts)
    lists = np.argsort(-scores, axis=1)[:, :12]
    listed = ranks_in_lists(lists, cases.targets, cases.target_starts)
    for cutoff in (1, 5, 12):
        assert listed.ndcg(cutoff).tolist() == whole.ndcg(cutoff).tolist()
        assert listed.mrr(cutoff).tolist() == whole.mrr(cutoff).tolist()
