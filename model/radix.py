"""The order of whole numbers, by counting and not by comparing."""

import numpy as np
from numpy.typing import NDArray


def radix_order(keys: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The stable order of whole numbers from 0 to below ``limit``, int64 [N].

    Digit by digit from the lowest: numpy sorts 16 bits by counting, at half of the cost of
    comparing whole numbers.
    """
    digits = np.ascontiguousarray(keys, "<i8").view("<u2").reshape(-1, 4)
    order = np.argsort(digits[:, 0], kind="stable")
    for at in range(1, -(-(limit - 1).bit_length() // 16)):
        order = order[np.argsort(digits[order, at], kind="stable")]
    return order
