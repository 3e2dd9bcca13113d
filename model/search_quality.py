"""How good rankings for queries are, by graded judgements: nDCG@10 and recall@20.

Every item of the catalogue is ranked; one without a judgement counts as irrelevant. A grade g gains
2**g - 1, discounted by the logarithm of its rank (Burges et al., "Learning to Rank using Gradient
Descent", 2005). Every grade above zero counts as relevant to recall.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NDCG_AT, RECALL_AT = 10, 20
METRICS = NDCG, RECALL = f"ndcg@{NDCG_AT}", f"recall@{RECALL_AT}"


@dataclass(frozen=True)
class Judgements:
    """Of Q queries, query after query."""

    rows: NDArray[np.int64]
    """int64 [J]: the items that were judged, distinct for each query."""
    grades: NDArray[np.float64]
    """float64 [J], at least 0."""
    starts: NDArray[np.int64]
    """int64 [Q + 1]: where those of each query begin, and where the last ones end."""

    @property
    def answerable(self) -> NDArray[np.bool_]:
        """bool [Q]: which queries have something relevant; the others say nothing."""
        relevant = np.append(0, np.cumsum(self.grades > 0))
        found: NDArray[np.bool_] = relevant[self.starts[1:]] > relevant[self.starts[:-1]]
        return found


def judge_search(
    rankings: Sequence[NDArray[np.int64]], judgements: Judgements, queries: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """What each metric says of each ranking.

    Args:
        rankings: rows best first, of each of the B queries.
        judgements: of all queries.
        queries: int64 [B]: whose rankings these are; all of them answerable.

    Returns:
        Of each of ``METRICS`` float64 [B].
    """
    values = {name: np.zeros(len(queries)) for name in METRICS}
    discounts = 1 / np.log2(np.arange(2, NDCG_AT + 2))
    for place, (ranking, query) in enumerate(zip(rankings, queries.tolist(), strict=True)):
        here = slice(judgements.starts[query], judgements.starts[query + 1])
        rows, grades = judgements.rows[here], judgements.grades[here]
        order = np.argsort(rows)
        rows, grades = rows[order], grades[order]
        top = ranking[: max(NDCG_AT, RECALL_AT)]
        at = np.minimum(np.searchsorted(rows, top), len(rows) - 1)
        earned = np.where(rows[at] == top, grades[at], 0.0)
        gains = np.exp2(earned[:NDCG_AT]) - 1
        ideal = np.exp2(np.sort(grades)[::-1][:NDCG_AT]) - 1
        best = ideal @ discounts[: len(ideal)]
        values[NDCG][place] = gains @ discounts[: len(gains)] / best
        values[RECALL][place] = np.count_nonzero(earned[:RECALL_AT]) / np.count_nonzero(grades > 0)
    return values
