"""The order of new items, for evaluation and serving: what sells now, and what the user takes."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.affinity import Affinities

KNOWN_EVENTS = 20.0
"""Decayed: an item with more has neighbours and popularity to speak for it."""
LOOKED_AT = 8_192
"""Newest rows of a table, among which little known ones are looked for."""
COMPARED = 2_048
"""Of those so many, the newest, are scored for every list."""


class FreshWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts how much, see ``model.fresh_fit``; none of it is below zero.

    The defaults come from the validation days of The Complete Journey.
    """

    popular: float = 0.05
    """Of the logarithm of one and the item's decayed events."""
    unsold: float = 0.0
    """Added where it has none: some of those will never sell."""
    category: float = 1.0
    """Of the affinity to its category path."""
    brand: float = 1.0
    smoothing: float = 20.0
    """Imagined events of everybody's, see ``model.affinity``."""


class FreshSignals(NamedTuple):
    """What is known of C new items for L lists; float32 [L, C] each."""

    popular: NDArray[np.float32]
    """Decayed events as of each list."""
    affinities: Affinities


def fresh_terms(signals: FreshSignals) -> tuple[NDArray[np.float32], ...]:
    """What ``fresh_scores`` weighs, in the order of the fields of ``FreshWeights``."""
    return (
        np.log1p(signals.popular),
        (signals.popular <= 0).astype(np.float32),
        signals.affinities.category,
        signals.affinities.brand,
    )


def fresh_scores(weights: FreshWeights, signals: FreshSignals) -> NDArray[np.float32]:
    """float32 [L, C], the higher the better."""
    factors = (weights.popular, weights.unsold, weights.category, weights.brand)
    first, *others = (
        np.float32(factor) * term
        for factor, term in zip(factors, fresh_terms(signals), strict=True)
    )
    for each in others:
        first += each
    return first


def is_hardly_known(
    weights: NDArray[np.float64], unit: "float | np.floating" = 1.0
) -> NDArray[np.bool_]:
    """Whether items are known to so few that others' choices cannot speak for them.

    Args:
        weights: decayed events of each, in units of ``unit``.
        unit: the weight of an event of the present.
    """
    hardly: NDArray[np.bool_] = weights < KNOWN_EVENTS * unit
    return hardly


def little_known(rows: NDArray[np.int64], may: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The items that are scored for every list, newest first.

    Args:
        rows: of a table, the newest last; the last ``LOOKED_AT`` are looked at.
        may: bool, of the same shape: which of them are hardly known and may be recommended.
    """
    rows, may = rows[-LOOKED_AT:], may[-LOOKED_AT:]
    newest: NDArray[np.int64] = rows[np.flatnonzero(may)[-COMPARED:][::-1]]
    return newest
