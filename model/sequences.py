"""Item sequences end to end in flat arrays: users, sessions or prefixes, oldest event first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.dataset import EventLog
from model.ragged import ranges


@dataclass(frozen=True)
class Sequences:
    """S sequences of N events in all, in the order of their file or owner."""

    items: NDArray[np.int32]
    """int32 [N], positions in ``item_ids``."""
    starts: NDArray[np.int64]
    """int64 [S + 1], ascending: sequence s is ``items[starts[s]:starts[s + 1]]``."""
    item_ids: list[str]
    """The whole catalogue: every item is ranked."""
    times: NDArray[np.int64] | None = None
    """int64 [N], epoch milliseconds, ascending in each sequence; None where only order is known."""
    kinds: NDArray[np.uint8] | None = None
    """uint8 [N], numbers of ``model.events.INTERACTION_KINDS``; None where there is only one."""

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]], item_ids: Sequence[str]) -> "Sequences":
        """Sequences of positions in ``item_ids``, without times."""
        rows = list(lists)
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        items = np.fromiter((item for row in rows for item in row), np.int32, int(starts[-1]))
        return cls(items, starts, list(item_ids))

    @classmethod
    def from_log(cls, log: EventLog) -> "Sequences":
        """One sequence for each user of a log."""
        return cls(log.items, log.first_rows, log.item_ids, log.times, log.kinds)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def item_count(self) -> int:
        """Items that are ranked, those that never occur included."""
        return len(self.item_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [S]."""
        return np.diff(self.starts)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64 [N]: the sequence of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def ages(self) -> NDArray[np.int64]:
        """int64 [N]: events of the same sequence that came after each one; 0 for its newest."""
        return self.starts[1:][self.rows] - 1 - np.arange(len(self.items))

    def spans(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> "Sequences":
        """A new sequence for each pair: events ``begins[r]`` to before ``ends[r]`` of all N.

        Raises:
            ValueError: when an end is before its begin.
        """
        lengths = ends - begins
        if (lengths < 0).any():
            raise ValueError("a span ends before it begins")
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        picked = ranges(begins, lengths)
        return Sequences(
            self.items[picked],
            starts,
            self.item_ids,
            None if self.times is None else self.times[picked],
            None if self.kinds is None else self.kinds[picked],
        )

    def take(self, numbers: NDArray[np.int64]) -> "Sequences":
        """Some of the sequences, in the order asked for."""
        return self.spans(self.starts[:-1][numbers], self.starts[1:][numbers])

    def newest(self, count: int) -> "Sequences":
        """The last ``count`` events of each sequence."""
        return self.spans(np.maximum(self.starts[:-1], self.starts[1:] - count), self.starts[1:])

    def before(self, time: int) -> "Sequences":
        """The events earlier than ``time`` (epoch ms); as many sequences, some perhaps empty.

        Raises:
            ValueError: when times are not known.
        """
        kept = self.known_times < time
        counts = np.bincount(self.rows[kept], minlength=len(self))
        return self.spans(self.starts[:-1], self.starts[:-1] + counts)

    @property
    def known_times(self) -> NDArray[np.int64]:
        """The times.

        Raises:
            ValueError: when they are not known.
        """
        if self.times is None:
            raise ValueError("these sequences have no times, only an order; give a log with times")
        return self.times

    def counts(self) -> NDArray[np.int64]:
        """int64 [item_count]: how often each item occurs."""
        return np.bincount(self.items, minlength=self.item_count)


@dataclass(frozen=True)
class Cases:
    """B questions: given a history, which items come next?"""

    histories: Sequences
    targets: NDArray[np.int32]
    """int32 [T]: the right answers of all cases end to end, distinct within a case."""
    target_starts: NDArray[np.int64]
    """int64 [B + 1]: where the answers of each case begin; each case has at least one."""
    seen_excluded: bool
    """Whether items of the history are taken out of the ranking."""
    as_of: int | None = None
    """Epoch ms at which the histories end, where times are known."""

    def __post_init__(self) -> None:
        if len(self.target_starts) != len(self.histories) + 1:
            raise ValueError(
                f"{len(self.histories)} histories with answers for {len(self.target_starts) - 1}"
            )
        if (np.diff(self.target_starts) < 1).any():
            raise ValueError("a case without a right answer cannot be judged; leave it out")

    @classmethod
    def single(
        cls, histories: Sequences, targets: NDArray[np.int32], *, seen_excluded: bool
    ) -> "Cases":
        """Cases of exactly one right answer each: ``targets`` int32 [B]."""
        starts = np.arange(len(targets) + 1, dtype=np.int64)
        return cls(histories, targets, starts, seen_excluded)

    def __len__(self) -> int:
        return len(self.histories)

    def take(self, numbers: NDArray[np.int64]) -> "Cases":
        """Some of the cases, in the order asked for."""
        begins, ends = self.target_starts[:-1][numbers], self.target_starts[1:][numbers]
        starts = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(ends - begins, out=starts[1:])
        picked = ranges(begins, ends - begins)
        return Cases(
            self.histories.take(numbers),
            self.targets[picked],
            starts,
            self.seen_excluded,
            self.as_of,
        )

    def sample(self, count: int, seed: int) -> "Cases":
        """At most ``count`` of the cases, drawn without replacement, in their order."""
        if count >= len(self):
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return self.take(np.sort(drawn))
