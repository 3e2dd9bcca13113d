"""Ranges of several lengths end to end: how flat arrays of ragged rows are indexed."""

import numpy as np
from numpy.typing import NDArray


def ranges(begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """``begins[r]``, ``begins[r] + 1``, ... (``sizes[r]`` of them) for each r in turn.

    Args:
        begins: int64 [R].
        sizes: int64 [R], none below 0.

    Returns:
        int64 [sum of sizes].
    """
    ends = np.cumsum(sizes)
    return np.repeat(begins - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
