"""What a position of a list is worth: how likely an item that stands there is looked at.

Under the examination hypothesis (Craswell et al., "An Experimental Comparison of Click
Position-Bias Models", 2008) an item is clicked where it is looked at and attractive. Propensities
are taken from the click-through of each position, relative to the first (Joachims, Swaminathan &
Schnabel, "Unbiased Learning-to-Rank with Biased Feedback", 2017, weigh by their inverse). Better
items stand higher, so that this overstates how little is seen of low positions; the floor bounds
what that does.
"""

import numpy as np
from numpy.typing import NDArray

from serving.exposure import MOST_POSITION, ResponseCells

FLOOR = 0.1
"""No click counts as more than ten."""
BELIEF = 50.0
"""Impressions: a position with as many is believed half, and drawn to the one above it."""


def propensities(cells: ResponseCells) -> NDArray[np.float64]:
    """Float64 [MOST_POSITION + 1] in [``FLOOR``, 1], not rising, 1 at the first position."""
    shown, clicked = (
        np.bincount(cells.positions[here], cells.weights[here], MOST_POSITION + 1)
        for here in (cells.kinds == 0, cells.kinds == 1)
    )
    found = np.ones(MOST_POSITION + 1)
    if not shown[1] or not clicked[1]:
        return found
    first = clicked[1] / shown[1]
    last = int(np.flatnonzero(shown).max())
    for at in range(2, last + 1):
        above = found[at - 1]
        drawn = (clicked[at] + BELIEF * above * first) / (shown[at] + BELIEF) / first
        found[at] = np.clip(drawn, FLOOR, above)
    found[last + 1 :] = found[last]
    return found
