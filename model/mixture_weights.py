"""How much each of several methods counts, chosen on pools of items whose right answers are known.

Weights start from the conditional logit (McFadden, "Conditional logit analysis of qualitative
choice behavior", 1974), the likelihood's best, and climb from there to the objective of the table.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.choice import Budget, Choice, choose
from model.method import Setting
from model.pools import Pools, Shares
from model.ranks import Objective

WEIGHTS: tuple[float, ...] = (
    *(0.0, 0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7),
    *(0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0),
)
FLOORS: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
LEAST_WORTH = 0.001
"""Relative; a method that brings less is left out."""
NEWTON_STEPS = 12
HALVINGS = 20
NEAR = 1e-6
"""Twice what a further step can add to the mean log-likelihood."""
PENALTY = 1e-3
"""On the squares of the weights, so that methods that say the same share theirs."""


@dataclass(frozen=True)
class Part:
    """What one method counts for."""

    weight: float
    floor: float
    unit: float

    def strength(self, shares: Shares) -> NDArray[np.float32]:
        """What is said of each item, of the same shape; 1 for a typical best one."""
        said = shares / np.float32(self.floor * self.unit)
        said += 1
        np.log(said, out=said)
        said *= np.float32(1 / math.log1p(1 / self.floor))
        return said


def typical_best(shares: Shares, pools: Pools) -> float:
    """The mean over pools of the greatest share."""
    return float(np.maximum.reduceat(shares, pools.starts[:-1]).mean())


def weigh(
    pools: Pools,
    first: Mapping[str, Part],
    objective: Objective,
    budget: Budget,
) -> tuple[dict[str, Part], Choice]:
    """The parts that do best, and how they were found.

    Args:
        pools: with the shares of each method.
        first: floors to begin with, and units.
        objective: of the ranks in the pools.
        budget: of the climb.
    """
    blend = _Blend(pools, first)
    weights = conditional_logit([blend.strength(name, part) for name, part in first.items()], pools)
    start: dict[str, Setting] = {}
    for (name, part), weight in zip(first.items(), weights, strict=True):
        start |= {f"{name}.weight": weight, f"{name}.floor": part.floor}

    def worth(settings: Mapping[str, Setting]) -> float:
        if not any(settings[f"{name}.weight"] for name in first):
            # Nobody says anything, which a shuffle would turn into luck.
            return 0.0
        return objective(pools.ranks(blend.scores(settings)))

    grid = {f"{name}.weight": WEIGHTS for name in first}
    grid |= {f"{name}.floor": FLOORS for name in first}
    choice = choose(worth, start, grid, budget)
    least = choice.value * (1 - LEAST_WORTH)
    settings = choice.settings
    for name in sorted(first, key=lambda name: choice.settings[f"{name}.weight"]):
        without = {**settings, f"{name}.weight": 0.0}
        if worth(without) >= least > 0:
            settings = without
    return blend.parts(settings), choice


class _Blend:
    """The scores of pools, with the strengths of each method kept from trial to trial."""

    def __init__(self, pools: Pools, first: Mapping[str, Part]) -> None:
        self._pools = pools
        self._first = first
        self._kept: dict[tuple[str, float], NDArray[np.float32]] = {}

    def parts(self, settings: Mapping[str, Setting]) -> dict[str, Part]:
        return {
            name: replace(part, weight=settings[f"{name}.weight"], floor=settings[f"{name}.floor"])
            for name, part in self._first.items()
        }

    def strength(self, name: str, part: Part) -> NDArray[np.float32]:
        key = (name, part.floor)
        if key not in self._kept:
            self._kept[key] = part.strength(self._pools.shares[name])
        return self._kept[key]

    def scores(self, settings: Mapping[str, Setting]) -> NDArray[np.float32]:
        total = np.zeros(len(self._pools.items), np.float32)
        for name, part in self.parts(settings).items():
            if part.weight:
                total += np.float32(part.weight) * self.strength(name, part)
        return total


def conditional_logit(strengths: list[NDArray[np.float32]], pools: Pools) -> list[float]:
    """The weights under which the right answers are likeliest, scaled so that the greatest is 1.

    A weight that would be negative is 0. Newton's method; the likelihood has one top. Answers that
    no method has among its best are left out: they are in the pools only because they are right,
    and would teach that what nobody names is right.

    Args:
        strengths: of each method, float32 [C].
        pools: of C items.
    """
    features = np.stack(strengths, axis=1).astype(np.float64)
    wanted = np.zeros(len(features))
    shares = pools.found / np.diff(pools.answer_starts)[pools.answer_rows]
    np.add.at(wanted, pools.answers, shares)
    kept = np.ones(features.shape[1], bool)
    weights = np.ones(features.shape[1])
    while kept.any():
        weights[kept] = _likeliest(features[:, kept], wanted, pools.starts)
        worst = int(weights.argmin())
        if weights[worst] >= 0:
            return [float(weight) for weight in weights / max(weights.max(), 1e-9)]
        weights[worst], kept[worst] = 0, False
    return [1.0] * len(weights)


def _likeliest(
    features: NDArray[np.float64], wanted: NDArray[np.float64], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The weights of these features, of either sign."""
    begins, lengths = starts[:-1], np.diff(starts)
    of_case = np.add.reduceat(wanted, begins)
    mass = np.repeat(of_case, lengths)
    cases = max(float(of_case.sum()), 1.0)
    size = features.shape[1]

    def likelihood(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = features @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, begins), lengths)
        chances = np.exp(scores)
        sums = np.add.reduceat(chances, begins)
        chances /= np.repeat(sums, lengths)
        value = float(wanted @ scores - of_case @ np.log(sums)) / cases
        return value - PENALTY / 2 * float(weights @ weights), chances

    weights = np.zeros(size)
    value, chances = likelihood(weights)
    for _ in range(NEWTON_STEPS):
        slope = features.T @ (wanted - mass * chances) / cases - PENALTY * weights
        means = np.add.reduceat(features * chances[:, None], begins, axis=0)
        seconds = features.T @ (features * (mass * chances)[:, None])
        bend = (seconds - means.T @ (means * of_case[:, None])) / cases
        step = np.linalg.solve(bend + PENALTY * np.eye(size), slope)
        if float(slope @ step) < NEAR:
            break
        # Far from the top a full step may overshoot it.
        for _ in range(HALVINGS):
            higher, chances = likelihood(weights + step)
            if higher > value:
                break
            step /= 2
        weights, value = weights + step, higher
    return weights
