"""From the score of a listed item to the probability that it is taken: Platt scaling.

    p = 1 / (1 + exp(-(a * score + b)))

Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood
Methods", 1999, with the targets smoothed as there; the two numbers are found by Newton's method
with halved steps, as Lin, Lin and Weng, "A Note on Platt's Probabilistic Outputs for Support
Vector Machines", 2007, advise. What is taken depends on what one came for: each task (click, cart,
purchase, ...) has an ``a`` and a ``b`` of its own.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

NEWTON_STEPS = 100
HALVINGS = 30
GRADIENT_END = 1e-9
"""Of the mean surprise; the loss is flat to twelve digits there."""
RIDGE = 1e-12
"""Keeps the Hessian invertible where all scores are one number."""
BINS = 10


class Platt(msgspec.Struct, frozen=True):
    """The two numbers."""

    a: float
    b: float

    def probability(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """The p above, float64 of the scores' shape."""
        return _sigmoid(self.a * scores.astype(np.float64) + self.b)


class TaskCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """How a bundle's scores become probabilities of one task, and how true these are.

    The question is: given that the user's next moment of this kind comes, is the item one of its?
    """

    a: float
    b: float
    """Of ``Platt``, fitted on all listed items."""
    users: int
    listed: int
    """Items on their lists."""
    taken: float
    """Share of the listed items that were taken."""
    ece_before: float
    """Expected calibration error of 1 / (1 + exp(-score)), see ``expected_error``."""
    ece_after: float
    """The same with Platt scaling, for each half of the users by what the other half gave."""

    @property
    def platt(self) -> Platt:
        """The two numbers."""
        return Platt(self.a, self.b)


def fit_platt(scores: NDArray[np.floating], taken: NDArray[np.bool_]) -> Platt:
    """The a and b that make what happened most likely.

    Args:
        scores: [M] of listed items.
        taken: bool [M].

    Raises:
        ValueError: there is no score, not one outcome for each, or a score that is no number.
    """
    if not len(scores) or scores.shape != taken.shape:
        raise ValueError(f"{len(scores)} scores for {len(taken)} outcomes; need as many, and some")
    if not np.isfinite(scores).all():
        raise ValueError("a score is no finite number; look at the graph that gave it")
    positives = int(taken.sum())
    negatives = len(taken) - positives
    # As if one more of each had been seen: an outcome that never happened is not impossible.
    target = np.where(taken, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Centred and scaled, one step is as good for a as for b.
    center, spread = float(scores.mean(dtype=np.float64)), float(scores.std(dtype=np.float64))
    spread = spread or 1.0
    slope, offset = _newton((scores.astype(np.float64) - center) / spread, target)
    return Platt(slope / spread, offset - slope * center / spread)


def calibrate_task(
    scores: NDArray[np.floating], taken: NDArray[np.bool_], owners: NDArray[np.int64]
) -> TaskCalibration:
    """Fit on all listed items, and measure on halves that did not see each other.

    Args:
        scores: [M] of listed items.
        taken: bool [M].
        owners: int64 [M]: whose list each is on; both halves of the users are judged.

    Raises:
        ValueError: as ``fit_platt``.
    """
    whole = fit_platt(scores, taken)
    after = whole.probability(scores)
    half = np.unique(owners, return_inverse=True)[1] % 2 == 0
    for fitted, judged in ((half, ~half), (~half, half)):
        # One user alone has no other half.
        if fitted.any() and judged.any():
            after[judged] = fit_platt(scores[fitted], taken[fitted]).probability(scores[judged])
    return TaskCalibration(
        a=whole.a,
        b=whole.b,
        users=len(np.unique(owners)),
        listed=len(scores),
        taken=float(taken.mean()),
        ece_before=expected_error(Platt(1.0, 0.0).probability(scores), taken),
        ece_after=expected_error(after, taken),
    )


def expected_error(
    predicted: NDArray[np.float64], taken: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Mean of abs(predicted - happened) over bins that hold equally many (Nixon et al., "Measuring
    Calibration in Deep Learning", 2019): most listed items are rarely taken, and would all fall
    into the first bin of equal width.

    Args:
        predicted: float64 [M] probabilities; equal ones may fall into two bins.
        taken: bool [M].
        bins: as many, or fewer where there are fewer cases.
    """
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return sum(
        len(part) * abs(float(predicted[part].mean()) - float(taken[part].mean())) for part in parts
    ) / len(order)


def _newton(scores: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of the least mean cross-entropy; the problem is convex."""
    table = np.stack([scores, np.ones(len(scores))], axis=1)
    share = float(target.mean())
    found = np.array([0.0, np.log(share / (1 - share))])
    loss = _surprise(table @ found, target)
    for _ in range(NEWTON_STEPS):
        chance = _sigmoid(table @ found)
        gradient = table.T @ (chance - target) / len(scores)
        if np.abs(gradient).max() < GRADIENT_END:
            break
        weight = chance * (1 - chance)
        curve = (table * weight[:, None]).T @ table / len(scores) + RIDGE * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        for _ in range(HALVINGS):
            tried = found - step
            if (found_loss := _surprise(table @ tried, target)) < loss:
                break
            step /= 2
        else:
            break  # no step lowers it any more: this is the end of the numbers' precision
        found, loss = tried, found_loss
    return float(found[0]), float(found[1])


def _surprise(logits: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Mean cross-entropy."""
    return float((np.logaddexp(0.0, logits) - target * logits).mean())


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * logits))
    return found
