"""What rows of the catalogue have in common: a category."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

NO_GROUP = 0
_FIRST_CAPACITY = 1024

GroupName = TypeVar("GroupName", bound=Hashable)


class ItemGroups(Generic[GroupName]):
    """Groups are numbered from 1 in the order in which they came; 0 is for rows that have none."""

    def __init__(self) -> None:
        self.names: list[GroupName | None] = [None]
        self._number_of: dict[GroupName, int] = {}
        # One place more: there row -1 finds that it has no group.
        self._group_of_row = np.full(_FIRST_CAPACITY, NO_GROUP, np.int32)

    def put(self, row: int, name: GroupName | None) -> None:
        """Row ``row``, at most one beyond the last, belongs to this group from now on."""
        if row >= len(self._group_of_row) - 1:
            more = np.full(len(self._group_of_row), NO_GROUP, np.int32)
            self._group_of_row = np.concatenate([self._group_of_row, more])
        group = NO_GROUP
        if name is not None:
            group = self._number_of.setdefault(name, len(self.names))
            if group == len(self.names):
                self.names.append(name)
        self._group_of_row[row] = group

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The group of each row, of the same shape; ``NO_GROUP`` for row -1."""
        return self._group_of_row[rows]
