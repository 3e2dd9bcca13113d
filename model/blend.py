"""The one formula that makes a list's order, for evaluation and for serving alike.

    score = network * s + repeat * log(1 + r / r0) + covisit * log(1 + c / c0)
            + popular * log(1 + p / p0) + unknown * [item outside the vocabulary]

``s`` is the network's score of the item, ``r`` the user's own repeat strength, ``c`` the
co-visits with the user's newest items, ``p`` the item's decayed popularity. A weight of zero
takes a signal out, so that the formula falls back to any part of itself.
"""

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
    unknown: float = 0.0
    """Added for items outside the vocabulary: the network knows them only as "another item"."""
    repeat_half_life_days: float = 60.0
    """Passed to ``model.features.repeat_strength``."""


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of each candidate: float32 [B, C] each, and its row int64 [B, C]."""

    rows: NDArray[np.int64]
    network: NDArray[np.float32]
    repeat: NDArray[np.float32]
    covisit: NDArray[np.float32]
    popular: NDArray[np.float32]


def blend(weights: BlendWeights, signals: Signals) -> NDArray[np.float32]:
    """The formula above: float32 [B, C]. Padding (row 0) is not treated apart: mask it."""
    scores = weights.network * signals.network
    for weight, scale, signal in (
        (weights.repeat, weights.repeat_scale, signals.repeat),
        (weights.covisit, weights.covisit_scale, signals.covisit),
        (weights.popular, weights.popular_scale, signals.popular),
    ):
        if weight:
            scores = scores + weight * np.log1p(signal / scale)
    if weights.unknown:
        scores = scores + weights.unknown * (signals.rows == UNKNOWN)
    return scores.astype(np.float32, copy=False)
