"""A blend of methods: the weighted sum of what each of them says, on one scale.

What a method gives for a history becomes shares p of all items: logits by softmax, counts by their
sum. The mixture's score of an item is

    sum over methods of weight * log(1 + p / (floor * unit)) / log(1 + 1 / floor)

``unit`` is what the method's best item gets on average, so that 1 is what a typical best item says.
``floor`` goes from log-linear (small: a product of the methods' shares) to linear (large: a sum of
them). A weight of 0 leaves a method out, whatever it says.

The weights are chosen on validation cases, which the methods have not learned. As the methods' own
settings were chosen on the same cases, ``held_out`` says what weights chosen on one half of the
cases reach on the other.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from model.choice import Budget, Choice
from model.method import Method, Scores, Setting
from model.mixture_weights import Part, typical_best, weigh
from model.pools import Pools, Shares, gather, shares_of
from model.ranks import Objective
from model.sequences import Cases, Sequences

FIRST_FLOOR = {"counts": 0.01, "logits": 1e-4}
BUDGET = Budget(trials=5000, least_gain=0.001, patience=50)
"""Weights are few and their cases many, so that smaller gains count than with a method's
settings; and walks are not stopped by a dent."""


class Mixture:
    """The method.

    Args:
        objective: what weights are chosen by.
        sources: the methods to blend, by name.
        logits: names of those whose scores are logits; of the others, a score of 0 says nothing.
        sources_fitted: whether the sources have been fitted on the same training part already.
        budget: of the choice of weights.
        cases: at most so many validation cases are asked.
        best: so many of the best items of each source are compared.
        seed: draws those cases.

    Raises:
        ValueError: when there is no source.
    """

    def __init__(
        self,
        objective: Objective,
        sources: Mapping[str, Method],
        *,
        logits: Collection[str] = (),
        sources_fitted: bool = False,
        budget: Budget = BUDGET,
        cases: int = 20_000,
        best: int = 30,
        seed: int = 0,
    ) -> None:
        if not sources:
            raise ValueError("a mixture of no methods; give at least one")
        self._objective = objective
        self._sources = dict(sources)
        self._logits = frozenset(logits)
        self._sources_fitted = sources_fitted
        self._budget = budget
        self._cases = cases
        self._best = best
        self._seed = seed
        self.parts = {
            name: Part(1.0, FIRST_FLOOR["logits" if name in self._logits else "counts"], 1.0)
            for name in sources
        }
        """What each source counts for."""
        self.choice: Choice | None = None
        """How the weights were chosen; None where they were not."""
        self.held_out: float | None = None
        """The objective, of weights chosen on one half of the cases and judged on the other."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn the sources, unless they are; with ``validation``, choose the weights on it."""
        if not self._sources_fitted:
            for source in self._sources.values():
                source.fit(train, validation)
        if validation is not None:
            sample = validation.sample(self._cases, self._seed)
            shares = {name: partial(self._shares, name) for name in self._sources}
            self._choose(gather(shares, sample, self._best))

    def refit(self, train: Sequences) -> None:
        """Learn the sources that count from other sequences; the weights stay."""
        for name, source in self._sources.items():
            if self.parts[name].weight:
                source.refit(train)

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]."""
        total = np.zeros((len(histories), histories.item_count), np.float32)
        for name, part in self.parts.items():
            if part.weight:
                said = part.strength(self._shares(name, histories))
                said *= np.float32(part.weight)
                total += said
        return total

    def settings(self) -> Mapping[str, Setting]:
        """Weight, floor and unit of each source that counts."""
        return {
            f"{name}.{field}": value
            for name, part in self.parts.items()
            if part.weight
            for field, value in vars(part).items()
        }

    def _shares(self, name: str, histories: Sequences) -> Shares:
        return shares_of(self._sources[name], histories, logits=name in self._logits)

    def _choose(self, pools: Pools) -> None:
        first = {
            name: replace(part, unit=max(typical_best(pools.shares[name], pools), 1e-12))
            for name, part in self.parts.items()
        }
        # Three choices share the budget: one on each half, and the one that counts.
        budget = replace(self._budget, seconds=self._budget.seconds / 3)
        halves = [pools.half(second=False), pools.half(second=True)]
        if min(map(len, halves)):
            reached = [
                self._reached(weigh(own, first, self._objective, budget)[0], other)
                for own, other in (halves, halves[::-1])
            ]
            self.held_out = float(np.mean(reached))
        self.parts, self.choice = weigh(pools, first, self._objective, budget)

    def _reached(self, parts: Mapping[str, Part], pools: Pools) -> float:
        total = np.zeros(len(pools.items), np.float32)
        for name, part in parts.items():
            total += np.float32(part.weight) * part.strength(pools.shares[name])
        return self._objective(pools.ranks(total))
