"""Several partitions read as one, in the order of time, as far as each one's own order allows."""

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

LONG_AGO = np.iinfo(np.int64).min
FOREVER = np.iinfo(np.int64).max


class Stamped(Protocol):
    """A record as it stands in Kafka."""

    @property
    def timestamp(self) -> int: ...


S = TypeVar("S", bound=Stamped)


class TimeMerge(Generic[S]):
    """Takes records of partitions as they are fetched and gives them out in order.

    A record never overtakes another of its partition: it counts as as late as the latest before it.
    Whatever no partition can still undercut is given out, so that none runs ahead of the others by
    more than what is held.
    """

    def __init__(self, partitions: Iterable[int]) -> None:
        self._records: dict[int, list[S]] = {each: [] for each in partitions}
        self._times: dict[int, list[npt.NDArray[np.int64]]] = {each: [] for each in self._records}
        self._latest = dict.fromkeys(self._records, LONG_AGO)
        self._open = set(self._records)

    def add(self, partition: int, records: Sequence[S]) -> None:
        """Take records that follow those of this partition."""
        times = np.fromiter((each.timestamp for each in records), np.int64, len(records))
        if len(times):
            times[0] = max(times[0], self._latest[partition])
            times = np.maximum.accumulate(times)
            self._latest[partition] = int(times[-1])
            self._records[partition] += records
            self._times[partition].append(times)

    def end(self, partition: int) -> None:
        """Nobody waits for this partition any more."""
        self._open.discard(partition)

    def held(self, partition: int) -> int:
        """Records of a partition that have not been given out."""
        return len(self._records[partition])

    def ready(self) -> list[S]:
        """Take the records that are next; none where a partition has to be waited for."""
        horizon = min((self._latest[each] for each in self._open), default=FOREVER)
        found: list[S] = []
        moments = []
        for partition, held in self._records.items():
            if held:
                times = _joined(self._times[partition])
                count = int(np.searchsorted(times, horizon, side="right"))
                found += held[:count]
                moments.append(times[:count])
                del held[:count]
                self._times[partition] = [times[count:]] if held else []
        if len(moments) <= 1:
            return found
        order = np.argsort(_joined(moments), kind="stable")
        return [found[at] for at in order.tolist()]


def _joined(parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
