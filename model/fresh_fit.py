"""The weights of ``model.fresh_score``, learned from who bought which new item.

A conditional logit (McFadden 1974): the items of a basket are drawn from those that may be listed
with chances that are exponential in the score. Its likelihood has one maximum, which Newton's
method finds.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.fresh_score import FreshSignals, FreshWeights, fresh_terms

SMOOTHINGS = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
STEPS = 25
UNSOLD = FreshWeights.__struct_fields__.index("unsold")
RIDGE = 1.0
"""Of the squared weights: as much as a weight of one speaks against in one basket item."""

SignalsBySmoothing = Callable[[float], FreshSignals]


class Choices(NamedTuple):
    """Who took what of the same C items."""

    targets: Sequence[NDArray[np.int64]]
    """Of each of L lists, places among the items."""
    listed: NDArray[np.bool_]
    """bool [L, C]: what could be taken."""


def fitted_fresh_weights(
    signals: SignalsBySmoothing, choices: Choices, *, unsold: bool = False
) -> FreshWeights:
    """The weights, and of ``SMOOTHINGS`` the one, under which the choices are likeliest.

    Args:
        signals: of the choices, by the smoothing.
        choices: who took what.
        unsold: whether an item without any event gets a weight of its own. Where the items are
            those of a log, all of them sell one day, and such a weight would have learned that.
    """
    best, found = -np.inf, FreshWeights()
    for smoothing in SMOOTHINGS:
        terms = np.stack(fresh_terms(signals(smoothing)), axis=2).astype(np.float64)
        if not unsold:
            terms[:, :, UNSOLD] = 0
        weights, likelihood = _sensible(terms, choices)
        if likelihood > best:
            best = likelihood
            popular, none, category, brand = (round(each, 4) for each in weights.tolist())
            found = FreshWeights(
                popular=popular, unsold=none, category=category, brand=brand, smoothing=smoothing
            )
    return found


def _sensible(terms: NDArray[np.float64], choices: Choices) -> tuple[NDArray[np.float64], float]:
    """The same as ``_logit``, none below zero: what would be has none.

    That what sells well sells less is the log's way to say that what has not sold yet will.
    """
    weights, likelihood = _logit(terms, choices)
    while (weights < 0).any():
        terms = np.where(weights < 0, 0.0, terms)
        weights, likelihood = _logit(terms, choices)
    return weights, likelihood


def _logit(terms: NDArray[np.float64], choices: Choices) -> tuple[NDArray[np.float64], float]:
    """Weights [K] of terms [L, C, K], and the penalised log likelihood."""
    weights = np.zeros(terms.shape[2])
    counts = np.array([len(each) for each in choices.targets], np.float64)
    owner = np.repeat(np.arange(len(counts)), counts.astype(np.int64))
    taken = terms[owner, np.concatenate(choices.targets)].sum(axis=0)
    value = _value(weights, terms, choices.listed, counts, taken)[0]
    for _ in range(STEPS):
        _, chances = _value(weights, terms, choices.listed, counts, taken)
        mean = np.einsum("lc,lck->lk", chances, terms)
        second = np.einsum("lc,lcj,lck->jk", chances * counts[:, None], terms, terms, optimize=True)
        second -= np.einsum("l,lj,lk->jk", counts, mean, mean) - RIDGE * np.eye(len(weights))
        step = np.linalg.solve(second, taken - counts @ mean - RIDGE * weights)
        length = 1.0
        while (now := _value(weights + length * step, terms, choices.listed, counts, taken)[0]) < (
            value
        ) and length > 1e-6:
            length /= 2
        weights, gained, value = weights + length * step, now - value, now
        if gained < 1e-6 * abs(value):
            break
    return weights, value


def _value(
    weights: NDArray[np.float64],
    terms: NDArray[np.float64],
    listed: NDArray[np.bool_],
    counts: NDArray[np.float64],
    taken: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """The penalised log likelihood, and the chances [L, C]."""
    scores = np.where(listed, terms @ weights, -np.inf)
    highest = scores.max(axis=1, keepdims=True)
    chances = np.exp(scores - highest)
    sums = chances.sum(axis=1, keepdims=True)
    logs = (highest + np.log(sums))[:, 0]
    value = float(taken @ weights - counts @ logs - RIDGE / 2 * weights @ weights)
    return value, chances / sums
