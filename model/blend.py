"""The one formula that makes a list's order, for evaluation and for serving alike.

    score = network * s + repeat * log(1 + r / r0) + covisit * log(1 + c / c0)
            + popular * log(1 + p / p0) + chosen * log(1 + h / h0)
            + unknown * [item outside the vocabulary]

``s`` is the network's score of the item, ``r`` the user's own repeat strength, ``c`` the
co-visits with the user's newest items, ``p`` the item's decayed popularity, ``h`` how often it was
chosen after the same search. A weight of zero takes a signal out, so that the formula falls back to
any part of itself.
"""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.features import UNKNOWN


class BlendWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the formula, fitted on validation baskets and kept in the manifest."""

    network: float = 1.0
    repeat: float = 1.0
    repeat_scale: float = 1.0
    covisit: float = 0.0
    covisit_scale: float = 1.0
    popular: float = 0.0
    popular_scale: float = 1.0
    chosen: float = 1.0
    """Not fitted, for next baskets have no query: one choice moves an item as one purchase of the
    user's own would. Without a query it changes nothing."""
    chosen_scale: float = 1.0
    unknown: float = 0.0
    """Added for items outside the vocabulary: the network knows them only as "another item"."""
    repeat_half_life_days: float = 60.0
    """Passed to ``model.signals.own_repeat``."""


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of each candidate: arrays of one shape, such as [B, C]."""

    rows: NDArray[np.int64]
    """Rows of the vocabulary."""
    network: NDArray[np.float32]
    repeat: NDArray[np.float32]
    covisit: NDArray[np.float32]
    popular: NDArray[np.float32]
    chosen: NDArray[np.float32]


def blend(weights: BlendWeights, signals: Signals) -> NDArray[np.float32]:
    """The formula above, float32, of the signals' shape. Padding is not treated apart: mask it."""
    scores = weights.network * signals.network
    for weight, scale, signal in (
        (weights.repeat, weights.repeat_scale, signals.repeat),
        (weights.covisit, weights.covisit_scale, signals.covisit),
        (weights.popular, weights.popular_scale, signals.popular),
        (weights.chosen, weights.chosen_scale, signals.chosen),
    ):
        # Nothing is chosen where there is no query, as a rule.
        if weight and (signal is not signals.chosen or signal.any()):
            scores = scores + weight * np.log1p(signal / scale)
    if weights.unknown:
        scores = scores + weights.unknown * (signals.rows == UNKNOWN)
    return scores.astype(np.float32, copy=False)


SCALES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Tried for ``repeat_scale``: from "any purchase counts" to "only frequent ones do"."""
SIGNAL_NAMES = ("network", "repeat", "covisit", "popular", "unknown")
WITHOUT_NETWORK = ("repeat", "covisit", "popular")
NEWTON_STEPS = 25
LOGIT_BASKETS = 1_500
"""Five weights are known to a few percent from so many baskets; all of them judge the result."""
RIDGE = 1e-4
"""Keeps the Hessian invertible where a signal is zero everywhere; far below any real weight."""


def fit_blend(
    signals: Signals,
    basket: NDArray[np.int64],
    bought: NDArray[np.bool_],
    quality: Callable[[BlendWeights], float],
    repeat_half_life_days: float,
) -> BlendWeights:
    """The weights of the best quality on validation baskets.

    For each scale, and with and without the network, the weights are those of a conditional
    logit (McFadden, 1974): each bought candidate against all candidates of its basket, every
    basket counting once. A signal that would pull down what it is high for is left out. Of all
    these, the one with the best ``quality`` is taken.

    Args:
        signals: of all candidates, flat [M], with ``repeat_half_life_days``.
        basket: int64 [M], ascending: whose candidate it is.
        bought: bool [M].
        quality: judges weights on whole baskets (NDCG@10).
        repeat_half_life_days: kept in the weights.

    Raises:
        ValueError: nothing that was bought is among the candidates.
    """
    telling = np.unique(basket[bought])
    if not len(telling):
        raise ValueError("nothing that was bought is among the candidates")
    some = np.isin(basket, telling[:: 1 + len(telling) // LOGIT_BASKETS])
    part = Signals(**{name: getattr(signals, name)[some] for name in signals.__struct_fields__})
    basket, bought = basket[some], bought[some]
    fitted: list[BlendWeights] = []
    for names in (SIGNAL_NAMES, WITHOUT_NETWORK):
        for scale in SCALES:
            base = BlendWeights(
                network=0.0, repeat=0.0, repeat_scale=scale,
                repeat_half_life_days=repeat_half_life_days,
            )  # fmt: skip
            fitted.append(_fit_signals(base, part, basket, bought, names))
    return max(fitted, key=quality)


def _fit_signals(
    base: BlendWeights,
    signals: Signals,
    basket: NDArray[np.int64],
    bought: NDArray[np.bool_],
    names: tuple[str, ...],
) -> BlendWeights:
    """Fit the named weights; drop those below zero, the one for unknown items excepted."""
    while True:
        table = np.stack([_column(base, signals, name) for name in names], axis=1)
        weights = dict(zip(names, _conditional_logit(table, basket, bought), strict=True))
        worst = min((name for name in names if name != "unknown"), key=weights.__getitem__)
        if weights[worst] >= 0:
            return msgspec.structs.replace(base, **weights)
        names = tuple(name for name in names if name != worst)
        if set(names) <= {"unknown"}:
            return base


def _column(base: BlendWeights, signals: Signals, name: str) -> NDArray[np.float64]:
    """What the formula multiplies with the weight ``name``."""
    alone = msgspec.structs.replace(base, **{name: 1.0})
    return blend(alone, signals).astype(np.float64)


def _conditional_logit(
    table: NDArray[np.float64], basket: NDArray[np.int64], bought: NDArray[np.bool_]
) -> list[float]:
    """Newton's method for the weights of features [M, F]; the problem is convex.

    Something was bought in every basket.
    """
    starts = np.flatnonzero(np.diff(basket, prepend=-1))
    sizes = np.diff(starts, append=len(basket))
    share = bought / np.bincount(basket, weights=bought)[basket]
    target = share @ table
    ridge = RIDGE * len(starts)
    weights = np.zeros(table.shape[1])
    for _ in range(NEWTON_STEPS):
        scores = table @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        odds = np.exp(scores)
        odds /= np.repeat(np.add.reduceat(odds, starts), sizes)
        means = np.add.reduceat(table * odds[:, None], starts, axis=0)
        gradient = target - means.sum(axis=0) - ridge * weights
        spread = (table * odds[:, None]).T @ table - means.T @ means
        step = np.linalg.solve(spread + ridge * np.eye(len(weights)), gradient)
        # A full Newton step can overshoot from afar; no signal moves by more than 2 at once.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        weights += step
        if np.abs(step).max() < 1e-4:
            break
    return [round(float(weight), 6) for weight in weights]
