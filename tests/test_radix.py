"""Sorting digit by digit is sorting."""

import numpy as np
import pytest

from model.radix import radix_order


@pytest.mark.parametrize("limit", [1, 40, 2**16, 2**16 + 1, 2**40])
def test_the_order_of_digits_is_the_stable_order(limit: int) -> None:
    keys = np.random.default_rng(limit).integers(0, limit, 500)
    assert radix_order(keys, limit).tolist() == np.argsort(keys, kind="stable").tolist()
