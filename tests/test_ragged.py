"""Ranges end to end, beside the same made one by one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.ragged import ranges


def numbers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_by_hand() -> None:
    assert ranges(numbers(5, 0, 7), numbers(2, 3, 1)).tolist() == [5, 6, 0, 1, 2, 7]


@pytest.mark.parametrize("sizes", [(0, 2, 0), (0, 0), ()])
def test_empty_ranges_are_skipped(sizes: tuple[int, ...]) -> None:
    begins = numbers(*range(10, 10 + len(sizes)))
    assert ranges(begins, numbers(*sizes)).tolist() == [11, 12] * (2 in sizes)


def test_any_ranges_are_those_of_a_loop() -> None:
    chance = np.random.default_rng(2)
    begins, sizes = chance.integers(-50, 50, 40), chance.integers(0, 5, 40)
    one_by_one = [np.arange(first, first + size) for first, size in zip(begins, sizes, strict=True)]
    found = ranges(begins, sizes)
    assert found.dtype == np.int64
    assert found.tolist() == np.concatenate(one_by_one).tolist()
