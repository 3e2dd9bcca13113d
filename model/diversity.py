"""Maximal marginal relevance: what is like the items above it, or on every list, has to be worth
more.

Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries", 1998: the next item is the one with the greatest

    (1 - strength) * relevance - strength * (likeness / 2 + exposure)

Relevance is exp((score - best) / 2), with the best score in question: scores are those of a
conditional logit, so it is the root of the odds beside the best item, and an item far below it has
little to lose. Likeness is the greatest cosine of the network's item vectors to an item that the
list has, where it is positive; of an item that the network does not know, half of it is to be of
one category and half to be of one brand. Exposure is log(1 + popularity), divided by the greatest
of the items in question: other lists show what is popular, so that lists vary among each other too
(after Vargas and Castells, "Rank and Relevance in Novelty and Diversity Metrics for Recommender
Systems", 2011). All of it depends on the candidates of the one list alone. The root and the half
were chosen on validation days of two shops (``benchmarks.catalogue_coverage``).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

LIKENESS_WEIGHT = 0.5
"""Beside exposure, which has 1."""
TEMPERATURE = 2.0
"""At 1 groceries lost 6% of NDCG@10 at strength 0.3, on validation days; scores brought linearly to
0 to 1, in the place of odds, showed too little of a gift shop."""
IN_QUESTION = 5
"""Times the length of a list: what stands lower would cost more than it varies."""


class Traits(NamedTuple):
    """What likeness goes by, of each of N candidates."""

    vocabulary_rows: NDArray[np.int64]
    categories: NDArray[np.int32]
    """Numbers of categories; 0 for none."""
    brands: NDArray[np.int32]
    """Numbers of brands; 0 for none."""
    popular: NDArray[np.float32]
    """Decayed popularity, not below 0."""


@dataclass(frozen=True)
class Diversity:
    """How much lists are to vary, and by which vectors."""

    strength: float
    """From 0, which changes nothing, to 1, where relevance does not count."""
    vectors: NDArray[np.float32]
    """[V, D or more] by vocabulary row; what is beyond D is not looked at."""
    width: int
    """D."""

    def unit_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of length 1 of vocabulary rows, of their shape and D; 0 of an unknown item."""
        found = self.vectors[rows][..., : self.width]
        lengths = np.sqrt(np.einsum("...d,...d->...", found, found))
        lengths[rows < FIRST_ITEM] = np.inf
        unit: NDArray[np.float32] = found / np.maximum(lengths, np.float32(1e-12))[..., None]
        return unit


class Marginal:
    """Marginal relevance of W candidates of each of L lists, while the lists grow.

    Args:
        diversity: how much, and by which vectors.
        places: int64 [L, W], of the candidates among those of all lists; -1 for none.
        scores: float32 [N], of all candidates; finite at ``places``.
        traits: of all candidates.
    """

    def __init__(
        self,
        diversity: Diversity,
        places: NDArray[np.int64],
        scores: NDArray[np.float32],
        traits: Traits,
    ) -> None:
        self._diversity, self._traits, self._places = diversity, traits, places
        self._rows = traits.vocabulary_rows[places]
        self._vectors = diversity.unit_vectors(self._rows)
        known = self._rows >= FIRST_ITEM
        self._unknown = None if known.all() else ~known
        held = places >= 0
        # In float64, in which no difference of two scores overflows.
        below = np.where(held, scores[places].astype(np.float64), -np.inf)
        best = below.max(axis=1, keepdims=True, initial=np.finfo(np.float32).min)
        exposure = np.where(held, np.log1p(traits.popular[places].astype(np.float64)), 0.0)
        most = exposure.max(axis=1, keepdims=True, initial=0.0)
        exposure /= np.where(most > 0, most, 1.0)
        strength = diversity.strength
        self._worth = (1 - strength) * np.exp((below - best) / TEMPERATURE) - strength * exposure
        self._likeness = np.zeros(places.shape, np.float32)

    @property
    def values(self) -> NDArray[np.float64]:
        """float64 [L, W], from -1.5 to 1."""
        weight = LIKENESS_WEIGHT * self._diversity.strength
        values: NDArray[np.float64] = self._worth - weight * self._likeness
        return values

    def add(self, chosen: NDArray[np.int64]) -> None:
        """Have one item more in each list: int64 [L], places; -1 for none."""
        traits, has = self._traits, chosen >= 0
        rows = np.where(has, traits.vocabulary_rows[chosen], 0)
        vectors = self._diversity.unit_vectors(rows)
        alike = np.matmul(self._vectors, vectors[:, :, None])[:, :, 0]
        strangers = rows < FIRST_ITEM
        if self._unknown is not None or strangers.any():
            unknown = strangers[:, None] if self._unknown is None else self._unknown
            unknown = unknown | strangers[:, None]
            halves = [
                (of[self._places] == of[chosen][:, None]) & (of[chosen] > 0)[:, None]
                for of in (traits.categories, traits.brands)
            ]
            alike = np.where(unknown, np.float32(0.5) * halves[0] + 0.5 * halves[1], alike)
        alike[~has] = 0
        np.maximum(self._likeness, alike, out=self._likeness)
