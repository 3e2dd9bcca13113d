"""Where the right answers stand among all items, and the published metrics of that.

No sampled metrics. Equal scores are ordered by a fixed shuffle of the items: their numbers often
follow first appearance or popularity, and would leak it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.sequences import Cases, Sequences

BATCH_CELLS = 2_000_000
"""Scores held at once: 8 MB, which a core's caches still help with."""
TIE_SEED = 20_14


@dataclass(frozen=True)
class Ranks:
    """The rank of every right answer, 1 for the best; metrics as float64 [B], one for each case."""

    ranks: NDArray[np.int64]
    """int64 [T]; beyond the number of items where an answer was excluded."""
    starts: NDArray[np.int64]
    """int64 [B + 1], as ``Cases.target_starts``."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def hits(self, cutoff: int) -> NDArray[np.float64]:
        """How many answers are among the first ``cutoff``."""
        return self._sum((self.ranks <= cutoff).astype(np.float64))

    def hit(self, cutoff: int) -> NDArray[np.float64]:
        """HR@k, which tables of sessions call P@k: 1 if any answer is in the first k, else 0."""
        return (self.hits(cutoff) > 0).astype(np.float64)

    def precision(self, cutoff: int) -> NDArray[np.float64]:
        """P@k: answers in the first k, over k."""
        return self.hits(cutoff) / cutoff

    def recall(self, cutoff: int) -> NDArray[np.float64]:
        """Recall@k: answers in the first k, over all answers (HR@k where there is one)."""
        return self.hits(cutoff) / self.answers

    def capped_recall(self, cutoff: int) -> NDArray[np.float64]:
        """Answers in the first k, over the most that k places can hold; tables of baskets."""
        return self.hits(cutoff) / np.minimum(self.answers, cutoff)

    def ndcg(self, cutoff: int) -> NDArray[np.float64]:
        """NDCG@k: binary gains, discount 1 / log2(1 + rank), over the best possible."""
        ideal: NDArray[np.float64] = np.cumsum(1 / np.log2(np.arange(2, cutoff + 2)))
        best = ideal[np.minimum(self.answers, cutoff) - 1]
        gains = np.where(self.ranks <= cutoff, 1 / np.log2(1.0 + self.ranks), 0.0)
        values: NDArray[np.float64] = self._sum(gains) / best
        return values

    def mrr(self, cutoff: int) -> NDArray[np.float64]:
        """MRR@k: one over the rank of the first answer, 0 when it is beyond k."""
        first = np.minimum.reduceat(self.ranks, self.starts[:-1])
        return np.where(first <= cutoff, 1.0 / first, 0.0)

    @property
    def answers(self) -> NDArray[np.int64]:
        """int64 [B]: right answers of each case."""
        return np.diff(self.starts)

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.add.reduceat(values, self.starts[:-1])
        return sums


Objective = Callable[[Ranks], float]
"""What settings are chosen by: higher is better."""


class Scorer(Protocol):
    """What is judged: every ``model.method.Method``, and a network that is exported already."""

    def scores(self, histories: Sequences) -> Scores:
        """A new array [len(histories), items] that the caller may overwrite."""
        ...


def judge(method: Scorer, cases: Cases) -> Ranks:
    """Rank all items for every case.

    Raises:
        ValueError: when there is no case, or a score is not a number or infinite.
    """
    if not len(cases):
        raise ValueError("there is no case to judge")
    size = max(1, BATCH_CELLS // cases.histories.item_count)
    parts = []
    for start in range(0, len(cases), size):
        batch = cases.take(np.arange(start, min(start + size, len(cases))))
        parts.append(rank_targets(method.scores(batch.histories), batch))
    return Ranks(np.concatenate(parts), cases.target_starts)


def ranks_in_lists(
    lists: NDArray[np.int64], targets: NDArray[np.int32], target_starts: NDArray[np.int64]
) -> Ranks:
    """The rank of each answer in its case's list, for metrics no deeper than the lists.

    Args:
        lists: int64 [B, K] of distinct items, best first; -1 where a list is shorter.
        targets: int32 [T], of all cases end to end.
        target_starts: int64 [B + 1].

    Returns:
        Ranks; K + 1 for an answer that is not listed.
    """
    rows = np.repeat(np.arange(len(lists)), np.diff(target_starts))
    found = lists[rows] == targets[:, None]
    ranks = np.where(found.any(axis=1), found.argmax(axis=1), lists.shape[1]) + 1
    return Ranks(ranks.astype(np.int64), target_starts)


def rank_targets(scores: Scores, cases: Cases) -> NDArray[np.int64]:
    """The rank of each answer of a batch.

    Args:
        scores: [B, items], higher is better; overwritten where seen items are excluded.
        cases: B of them.

    Returns:
        int64 [T]; items + 1 for an answer that is excluded because it was seen.

    Raises:
        ValueError: when the shape is another, or a score is not a number or infinite.
    """
    histories = cases.histories
    shape = (len(cases), histories.item_count)
    if scores.shape != shape:
        raise ValueError(f"scores of shape {scores.shape} for {shape[0]} cases, {shape[1]} items")
    # Not a number compares as worse with everything, which would put the answer first.
    if not np.isfinite(scores.sum(axis=1)).all():
        raise ValueError("the method gave scores that are not finite numbers; nothing is ranked")
    if cases.seen_excluded:
        scores[histories.rows, histories.items] = -np.inf
    rows = np.repeat(np.arange(len(cases)), np.diff(cases.target_starts))
    own = scores[rows, cases.targets]
    shuffled = tie_order(histories.item_count)
    ranks = np.empty(len(rows), np.int64)
    for number, (row, target, score) in enumerate(
        zip(rows.tolist(), cases.targets.tolist(), own, strict=True)
    ):
        others = scores[row]
        ranks[number] = 1 + np.count_nonzero(others > score)
        if np.count_nonzero(others == score) > 1:
            level = np.flatnonzero(others == score)
            ranks[number] += np.count_nonzero(shuffled[level] < shuffled[target])
    ranks[np.isneginf(own)] = histories.item_count + 1
    return ranks


@lru_cache(maxsize=4)
def tie_order(count: int) -> NDArray[np.int64]:
    """The place of each item among equals, the same in every run."""
    return np.random.default_rng(TIE_SEED).permutation(count)
