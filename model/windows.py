"""Training examples: windows of a user's rows, and at each moment the basket that came next."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import PROFILE_INTERACTIONS, EventLog, target_kind
from model.features import Features, Interactions, Vocabulary, featurize


class Batch(NamedTuple):
    """W windows, and P moments in them that are followed by a basket of T lines in all."""

    features: Features
    """int64 [W, L] each."""
    positions: NDArray[np.int64]
    """[P], into the W * L positions of the windows."""
    target_state: NDArray[np.int64]
    """[T], into ``positions``."""
    target_row: NDArray[np.int64]
    """[T], rows of the vocabulary; items outside it are ``UNKNOWN``."""
    weight: NDArray[np.float32]
    """[T]: one over the size of the basket, so that each basket counts once."""


class TrainingWindows:
    """Cuts a log into windows so that each moment is learned from once per epoch.

    Args:
        log: what may be learned from.
        vocabulary: of the network.
        length: L.
        stride: rows of one user between the ends of two windows; a moment is seen with at least
            ``length - stride`` rows of history, where there are so many.

    Raises:
        ValueError: the stride is longer than the window.
    """

    def __init__(self, log: EventLog, vocabulary: Vocabulary, length: int, stride: int) -> None:
        if stride > length:
            raise ValueError(f"the stride {stride} is longer than the window of {length}")
        self._log = log
        self._vocabulary = vocabulary
        self._length = length
        self._stride = stride
        firsts = log.moments
        self._moment = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(log)))
        self._rows = vocabulary.index_of(log.hashes)
        """Vocabulary row of each item of the log."""
        targets = np.flatnonzero(log.kinds == target_kind(log))
        self._targets = targets
        # The lines of moment m are targets[first_target[m]:first_target[m + 1]].
        self._first_target = np.searchsorted(targets, np.append(firsts, len(log)))
        lasts = np.append(firsts[1:], len(log)) - 1
        same_user = np.zeros(len(firsts), bool)
        same_user[:-1] = log.users[lasts[:-1]] == log.users[firsts[1:]]
        sold = np.diff(self._first_target) > 0
        followed = same_user & np.append(sold[1:], False)
        self._followed = np.zeros(len(log), bool)
        """Whether a row is the last of a moment that is followed by a basket."""
        self._followed[lasts[followed]] = True

    def target_counts(self) -> NDArray[np.int64]:
        """int64 [V]: how often each row of the vocabulary is bought."""
        rows = self._rows[self._log.items[self._targets]]
        return np.bincount(rows, minlength=len(self._vocabulary))

    def batches(self, size: int, rng: np.random.Generator) -> list["PendingBatch"]:
        """One epoch: windows in random order, ``size`` at a time, made when they are asked for."""
        # The lines of a basket have no order: a new one every epoch keeps it from being learned.
        order = np.argsort(self._moment + rng.random(len(self._log)) * 0.999, kind="stable")
        items, kinds = self._log.items[order], self._log.kinds[order]
        windows = self._windows(rng)
        rng.shuffle(windows)
        return [
            PendingBatch(self, items, kinds, windows[start : start + size])
            for start in range(0, len(windows), size)
        ]

    def _windows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """[N, 3]: first row of the user, end of the window before, end of the window."""
        firsts = self._log.first_rows[:-1]
        sizes = np.diff(self._log.first_rows)
        offset = rng.integers(1, self._stride + 1, len(firsts))
        # Ends at offset, offset + stride, ... and one at the user's end; users without rows: none.
        count = (sizes > 0) * (1 + np.maximum(sizes - offset + self._stride - 1, 0) // self._stride)
        first, size, offset = (np.repeat(values, count) for values in (firsts, sizes, offset))
        step = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        end = np.minimum(offset + step * self._stride, size)
        before = np.where(step > 0, offset + (step - 1) * self._stride, 0)
        return np.stack([first, first + before, first + end], axis=1)

    def make(
        self, items: NDArray[np.int32], kinds: NDArray[np.uint8], windows: NDArray[np.int64]
    ) -> Batch:
        """The arrays of some windows; ``items`` and ``kinds`` are the log's, in epoch order."""
        histories: list[Interactions] = []
        positions: list[NDArray[np.int64]] = []
        rows: list[NDArray[np.int64]] = []
        reach = min(self._length + 1, PROFILE_INTERACTIONS)
        for number, (first, before, end) in enumerate(windows.tolist()):
            part = slice(max(first, end - reach), end)
            histories.append(
                Interactions(self._log.hashes[items[part]], kinds[part], self._log.times[part])
            )
            found = np.flatnonzero(self._followed[before:end]) + before
            positions.append((number + 1) * self._length - (end - found))
            rows.append(found)
        following = self._moment[np.concatenate(rows)] + 1
        starts = self._first_target[following]
        sizes = self._first_target[following + 1] - starts
        state = np.repeat(np.arange(len(following)), sizes)
        lines = np.arange(len(state)) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        return Batch(
            featurize(histories, self._vocabulary, self._length),
            np.concatenate(positions),
            state,
            self._rows[self._log.items[self._targets[lines]]],
            (1.0 / sizes[state]).astype(np.float32),
        )


class PendingBatch(NamedTuple):
    """A batch that is not made yet; one that was learned from before a restart never is."""

    windows: TrainingWindows
    items: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    chosen: NDArray[np.int64]

    def make(self) -> Batch:
        """The arrays."""
        return self.windows.make(self.items, self.kinds, self.chosen)
