"""What users searched for, in columns: read beside the interactions of ``model.dataset``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.features import Searches


@dataclass(frozen=True)
class SearchLog:
    """Searches in columns, sorted by (user, time); rows of equal time keep their order."""

    users: NDArray[np.int32]
    """As in the log that this belongs to."""
    times: NDArray[np.int64]
    """Epoch milliseconds."""
    texts: list[str]
    """What a profile keeps of each query."""

    def __len__(self) -> int:
        return len(self.users)

    def before(self, time: int) -> "SearchLog":
        """Those earlier than ``time`` (epoch ms)."""
        kept = np.flatnonzero(self.times < time)
        return SearchLog(self.users[kept], self.times[kept], [self.texts[row] for row in kept])

    def of(self, user: int, since: int, until: int) -> Searches:
        """What one user asked for from ``since`` to before ``until`` (epoch ms)."""
        # Numbers of another type would have the whole column copied.
        bounds = np.array([user, user + 1], np.int32)
        first, last = np.searchsorted(self.users, bounds).tolist()
        start, end = np.searchsorted(self.times[first:last], [since, until]).tolist()
        part = slice(first + start, first + end)
        return Searches(self.times[part], self.texts[part])


def no_searches() -> SearchLog:
    """Of a log that holds none."""
    return SearchLog(np.empty(0, np.int32), np.empty(0, np.int64), [])
