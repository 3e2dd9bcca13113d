"""What was told of users, in columns: read beside the interactions of ``model.dataset``."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.traits import TIME_BYTES, TRAIT_BYTES, merge_traits


@dataclass(frozen=True)
class TraitLog:
    """Records of ``model.traits``, sorted by (user, record)."""

    users: NDArray[np.int32]
    """As in the log that this belongs to."""
    records: NDArray[np.uint8]
    """[N, 14]"""

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """int64 [N], epoch milliseconds."""
        wide = np.zeros((len(self), 8), np.uint8)
        wide[:, 2:] = self.records[:, :TIME_BYTES]
        return wide.view(">u8").ravel().astype(np.int64)

    @cached_property
    def _names(self) -> NDArray[np.int64]:
        return self.records[:, TIME_BYTES] * np.int64(256) + self.records[:, TIME_BYTES + 1]

    def before(self, time: int) -> "TraitLog":
        """Those earlier than ``time`` (epoch ms)."""
        kept = self.times < time
        return TraitLog(self.users[kept], self.records[kept])

    def recoded(self, codes: NDArray[np.int32]) -> "TraitLog":
        """The same, with the numbers of users that ``codes`` has for the old ones."""
        users = codes[self.users].astype(np.int32)
        order = np.argsort(users, kind="stable")
        return TraitLog(users[order], self.records[order])

    def of(self, user: int, until: int) -> bytes:
        """What the profile of a user holds of what was told before ``until`` (epoch ms)."""
        # Numbers of another type would have the whole column copied.
        bounds = np.array([user, user + 1], np.int32)
        first, last = np.searchsorted(self.users, bounds).tolist()
        end = first + int(np.searchsorted(self.times[first:last], until))
        _, newest = np.unique(self._names[first:end][::-1], return_index=True)
        return merge_traits(self.records[end - 1 - newest].tobytes(), b"")


def no_traits() -> TraitLog:
    """Of a log that holds none."""
    return TraitLog(np.empty(0, np.int32), np.empty((0, TRAIT_BYTES), np.uint8))
