"""Whether the scores mean what they say: how often the list holds what is taken next.

With the scores s of all candidates of a case, the softmax gives each the probability of being the
next pick, and a list the probability of holding it:

    p = sum over the list of exp(s_i) / sum over the candidates of exp(s_c)

What happened is the share of the case's answers that the list holds: with one answer, 0 or 1.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 10


class ReliabilityBin(msgspec.Struct, frozen=True):
    """The cases whose probability lies in one part of [0, 1]."""

    low: float
    high: float
    cases: int
    predicted: float
    """Mean p."""
    happened: float
    """Mean of what happened."""


class Calibration(msgspec.Struct, frozen=True):
    """Bins of equal width that hold a case, and the expected calibration error."""

    bins: list[ReliabilityBin]
    ece: float
    """Mean over cases of abs(predicted - happened) of their bin (Naeini et al., "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", 2015)."""
    predicted: float
    happened: float


def list_probability(
    scores: NDArray[np.float32], starts: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """The p above for the ``count`` best of each case.

    Args:
        scores: float32 [M]: of all candidates, case after case.
        starts: int64 [B + 1]: where each case's candidates begin.
        count: places of a list.

    Returns:
        float64 [B]; 0 for a case without a candidate.
    """
    sizes = np.diff(starts)
    some = np.flatnonzero(sizes)
    held = np.zeros(len(sizes))
    if not len(some):
        return held
    cases = np.repeat(np.arange(len(sizes)), sizes)
    values = scores.astype(np.float64)
    best = np.full(len(sizes), -np.inf)
    best[some] = np.maximum.reduceat(values, starts[some])
    odds = np.exp(values - best[cases])
    order = np.lexsort((-values, cases))
    place = np.arange(len(values)) - starts[cases]
    listed = np.where(place < count, odds[order], 0.0)
    held[some] = np.add.reduceat(listed, starts[some]) / np.add.reduceat(odds, starts[some])
    return np.minimum(held, 1.0)


def calibrate(
    predicted: NDArray[np.float64], happened: NDArray[np.float64], bins: int = BINS
) -> Calibration:
    """Compare probabilities with what happened.

    Args:
        predicted: float64 [B] in [0, 1].
        happened: float64 [B] in [0, 1].
        bins: of equal width; one that holds no case is left out.

    Raises:
        ValueError: when there is no case, or a probability is outside [0, 1].
    """
    if not len(predicted) or len(predicted) != len(happened):
        raise ValueError(f"{len(predicted)} probabilities for {len(happened)} cases, need some")
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError("a probability is outside [0, 1]")
    numbers = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    filled = np.flatnonzero(counts)
    means = np.bincount(numbers, predicted, bins)[filled] / counts[filled]
    shares = np.bincount(numbers, happened, bins)[filled] / counts[filled]
    return Calibration(
        [
            ReliabilityBin(number / bins, (number + 1) / bins, int(counts[number]), mean, share)
            for number, mean, share in zip(
                filled.tolist(), means.tolist(), shares.tolist(), strict=True
            )
        ],
        float(counts[filled] @ np.abs(means - shares) / len(predicted)),
        float(predicted.mean()),
        float(happened.mean()),
    )
