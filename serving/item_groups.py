"""What rows of the catalogue have in common, as numbers: their categories."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.interests import NONE

_FIRST_CAPACITY = 1024

Value = TypeVar("Value", bound=Hashable)


class Codes(Generic[Value]):
    """Distinct values, numbered from 1 in the order in which they came."""

    def __init__(self) -> None:
        self.values: list[Value | None] = [None]
        self._code_of: dict[Value, int] = {}

    def of(self, value: Value | None) -> int:
        """The code of a value, a new one if it is new; ``NONE`` of nothing."""
        if not value:
            return NONE
        code = self._code_of.setdefault(value, len(self.values))
        if code == len(self.values):
            self.values.append(value)
        return code


class ItemGroups:
    """The category of each row, by its code; ``NONE`` for rows that have none."""

    def __init__(self) -> None:
        self.codes: Codes[tuple[str, ...]] = Codes()
        # One place more: there row -1 finds that it has no group.
        self._code_of_row = np.full(_FIRST_CAPACITY, NONE, np.int32)

    def put(self, row: int, category: tuple[str, ...]) -> None:
        """Row ``row``, at most one beyond the last, belongs to this group from now on."""
        if row >= len(self._code_of_row) - 1:
            more = np.full(len(self._code_of_row), NONE, np.int32)
            self._code_of_row = np.concatenate([self._code_of_row, more])
        self._code_of_row[row] = self.codes.of(category)

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The group of each row, of the same shape; ``NONE`` for row -1."""
        return self._code_of_row[rows]
