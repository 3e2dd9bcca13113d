"""Which pairs of items a user's new interactions make: all within 30 minutes, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import Interactions
from serving.profile import INTERACTIONS, Profile

TOGETHER_MS = 30 * 60 * 1000


@dataclass(frozen=True)
class Admission:
    """What one merge has brought into one user's profile, with the records it came in."""

    sources: Sequence[str]
    """Topic and partition of each record."""
    offsets: Sequence[int]
    records: Sequence[bytes]
    """Packed interactions, in the order in which they came into the profile."""
    admitted: Sequence[bytes]
    """The same, and those that an earlier run of the same micro-batch has brought in."""
    others: bytes
    """The user's interactions after the merge, packed, newest first."""

    def newcomers(self) -> Interactions:
        """Items, kinds and times of ``records``, in their order."""
        # A history turns packed records around.
        items, kinds, times = Profile(interactions=b"".join(self.records)).history()
        return Interactions(items[::-1], kinds[::-1], times[::-1])


class Pairs(NamedTuple):
    """Unordered pairs of different items; four arrays of one length."""

    record: NDArray[np.int64]
    """Position in ``Admission.records`` of the interaction that completed the pair."""
    one: NDArray[np.uint64]
    other: NDArray[np.uint64]
    times: NDArray[np.int64]
    """Event time of the later of the two, epoch milliseconds."""


def pairs_of(admission: Admission) -> Pairs:
    """The pairs that the admitted interactions complete.

    Of two interactions of one micro-batch, the one that came in second completes the pair: the
    same pairs come out however a log is cut into micro-batches.
    """
    width, others = INTERACTIONS.width, admission.others
    history = Profile(interactions=others).history()
    size = len(history.items)
    arrival = {record: nth for nth, record in enumerate(admission.admitted)}
    # Oldest first, as in the history; -1 was there before.
    arrived = np.fromiter(
        (arrival.get(others[at : at + width], -1) for at in range(0, size * width, width)),
        np.int64,
        size,
    )[::-1]
    own = np.fromiter((arrival[record] for record in admission.records), np.int64)
    items, _, times = admission.newcomers()
    near = np.abs(history.times - times[:, None]) <= TOGETHER_MS
    near &= (history.items != items[:, None]) & (arrived < own[:, None])
    record, place = np.nonzero(near)
    return Pairs(
        record,
        items[record],
        history.items[place],
        np.maximum(times[record], history.times[place]),
    )
