"""Ratios of contenders that took turns, round by round."""

import statistics
from collections.abc import Iterable


def median_ratio(ones: Iterable[float], others: Iterable[float]) -> float:
    """Median of the rounds' ratios of one contender's figures to another's.

    What slows the machine down for a round slows both: it leaves that round's ratio as it was,
    but not the ratio of two medians.

    Raises:
        ValueError: one has more rounds than the other.
    """
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    return round(statistics.median(ratios), 3)
