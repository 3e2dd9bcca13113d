"""Training examples: windows of a user's rows, and at each moment the baskets that came next.

What comes next at one moment is a basket for each kind of it: what was bought, what was clicked.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import PROFILE_INTERACTIONS, EventLog, target_kind
from model.events import MAX_TIME_MS
from model.features import (
    KIND_COUNT,
    Interactions,
    NetworkInputs,
    Searches,
    Vocabulary,
    featurize,
)
from model.ragged import ranges
from model.who import who_rows


class Batch(NamedTuple):
    """W windows, and P baskets, of T lines in all, that follow moments in them."""

    features: NetworkInputs
    """int64 [W, L] each, queries aside."""
    positions: NDArray[np.int64]
    """[P], into the W * L positions of the windows."""
    kinds: NDArray[np.int64]
    """[P]: of each basket."""
    target_state: NDArray[np.int64]
    """[T], into ``positions``."""
    target_row: NDArray[np.int64]
    """[T], rows of the vocabulary; items outside it are ``UNKNOWN``."""
    weight: NDArray[np.float32]
    """[T]: that of the kind over the size of the basket, so that each basket counts once."""
    who: NDArray[np.int64] | None = None
    """int64 [P, T]: what was known of the user before each basket; None where it is not read."""


class TrainingWindows:
    """Cuts a log into windows so that each moment is learned from once per epoch.

    Args:
        log: what may be learned from.
        vocabulary: of the network.
        length: L.
        stride: rows of one user between the ends of two windows; a moment is seen with at least
            ``length - stride`` rows of history, where there are so many.
        tasks: the kinds that are answers, and what a basket of each weighs; None for one of
            ``target_kind``.
        queries: whether queries are read. A profile holds the newest ten searches, a window all of
            its own: who has searched more often is served with the older ones missing.
        who: whether it is read who users are.

    Raises:
        ValueError: the stride is longer than the window.
    """

    def __init__(
        self,
        log: EventLog,
        vocabulary: Vocabulary,
        length: int,
        stride: int,
        tasks: Mapping[int, float] | None = None,
        *,
        queries: bool = False,
        who: bool = False,
    ) -> None:
        if stride > length:
            raise ValueError(f"the stride {stride} is longer than the window of {length}")
        self._log = log
        self._vocabulary = vocabulary
        self._length = length
        self._stride = stride
        self._queries = queries
        self._who = who
        firsts = log.moments
        self._moment = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(log)))
        self._rows = vocabulary.index_of(log.hashes)
        """Vocabulary row of each item of the log."""
        tasks = {target_kind(log): 1.0} if tasks is None else tasks
        self._weights = np.zeros(KIND_COUNT)
        self._weights[list(tasks)] = list(tasks.values())
        targets = np.flatnonzero(np.isin(log.kinds, list(tasks)))
        # A basket is the lines of one moment and kind, side by side.
        targets = targets[np.lexsort((log.kinds[targets], self._moment[targets]))]
        self._targets = targets
        baskets = self._moment[targets] * KIND_COUNT + log.kinds[targets]
        begins = np.flatnonzero(np.diff(baskets, prepend=-1))
        self._first_target = np.append(begins, len(targets))
        """The lines of basket b are ``targets[first_target[b]:first_target[b + 1]]``."""
        self._basket_kind = log.kinds[targets[begins]].astype(np.int64)
        self._first_basket = np.searchsorted(
            self._moment[targets[begins]], np.arange(len(firsts) + 1)
        )
        """The baskets of moment m are those from ``first_basket[m]`` to ``first_basket[m + 1]``."""
        lasts = np.append(firsts[1:], len(log)) - 1
        same_user = np.zeros(len(firsts), bool)
        same_user[:-1] = log.users[lasts[:-1]] == log.users[firsts[1:]]
        sold = np.diff(self._first_basket) > 0
        followed = same_user & np.append(sold[1:], False)
        self._followed = np.zeros(len(log), bool)
        """Whether a row is the last of a moment that is followed by a basket."""
        self._followed[lasts[followed]] = True
        self._strangers = self._known_strangers(sold) if queries or who else firsts[:0]

    def _known_strangers(self, sold: NDArray[np.bool_]) -> NDArray[np.int64]:
        """First rows of users of whom something was known before their first moment: a search
        that led to it, or who they are."""
        log = self._log
        begins = np.unique(log.first_rows[:-1][np.diff(log.first_rows) > 0])
        known = [
            (self._queries and len(log.searches.of(user, 0, time).texts) > 0)
            or (self._who and len(log.traits.of(user, time)) > 0)
            for user, time in zip(
                log.users[begins].tolist(), log.times[begins].tolist(), strict=True
            )
        ]
        return begins[np.array(known, bool) & sold[self._moment[begins]]]

    def target_counts(self) -> NDArray[np.float64]:
        """float64 [V]: how often each row of the vocabulary is an answer, by weight of its kind."""
        weights = self._weights[self._log.kinds[self._targets]]
        rows = self._rows[self._log.items[self._targets]]
        return np.bincount(rows, weights, minlength=len(self._vocabulary)).astype(np.float64)

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
        windows = np.stack([first, first + before, first + end], axis=1)
        return np.concatenate([windows, np.stack([self._strangers] * 3, axis=1)])

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
            if end == first:
                found = np.array([end - 1])  # nothing was known before the first moment
            positions.append((number + 1) * self._length - (end - found))
            rows.append(found)
        answers = np.concatenate(rows) + 1
        following = self._moment[answers]
        counts = np.diff(self._first_basket)[following]
        baskets = ranges(self._first_basket[following], counts)
        sizes = np.diff(self._first_target)[baskets]
        lines = ranges(self._first_target[baskets], sizes)
        state = np.repeat(np.arange(len(baskets)), sizes)
        answered = self._basket_kind[baskets]
        return Batch(
            featurize(histories, self._vocabulary, self._length, self._searches(windows)),
            np.repeat(np.concatenate(positions), counts),
            answered,
            state,
            self._rows[self._log.items[self._targets[lines]]],
            (self._weights[answered] / sizes)[state].astype(np.float32),
            self._who_before(answers).repeat(counts, axis=0) if self._who else None,
        )

    def _who_before(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """What was known of the users of some rows before them, int64 [R, T]."""
        log = self._log
        places = zip(log.users[rows].tolist(), log.times[rows].tolist(), strict=True)
        return who_rows([log.traits.of(user, time) for user, time in places])

    def _searches(self, windows: NDArray[np.int64]) -> list[Searches] | None:
        """What was asked for in each window, and before what came next; None if it is not read."""
        if not self._queries:
            return None
        log, found = self._log, []
        for first, _, end in windows.tolist():
            user = int(log.users[first])
            last = end == log.first_rows[user + 1]
            since = 0 if end - first <= self._length else int(log.times[end - self._length])
            until = MAX_TIME_MS if last else int(log.times[end])
            found.append(log.searches.of(user, since, until))
        return found


class PendingBatch(NamedTuple):
    """A batch that is not made yet; one that was learned from before a restart never is."""

    windows: TrainingWindows
    items: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    chosen: NDArray[np.int64]

    def make(self) -> Batch:
        """The arrays."""
        return self.windows.make(self.items, self.kinds, self.chosen)
