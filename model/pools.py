"""What several methods say of the same few items of each case: enough to weigh them by.

A case's pool is the best items of each method and the right answers. An item that no method has
among its best would hardly be among the best of a mixture, so ranks within the pool are those that
a cutoff far below its size sees.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.method import Method, Scores
from model.ragged import ranges
from model.ranks import BATCH_CELLS, Ranks, tie_order
from model.sequences import Cases, Sequences

Shares = NDArray[np.float32]


@dataclass(frozen=True)
class Pools:
    """B pools of C items in all, end to end."""

    starts: NDArray[np.int64]
    """int64 [B + 1]."""
    shares: dict[str, Shares]
    """Method name to float32 [C]."""
    answers: NDArray[np.int64]
    """int64 [T]: places of the right answers in the pools."""
    answer_starts: NDArray[np.int64]
    """int64 [B + 1], as ``Cases.target_starts``."""
    found: NDArray[np.bool_]
    """bool [T]: whether an answer is among any method's best, or only there as an answer."""
    excluded: NDArray[np.bool_]
    """bool [T]: answers that may not be listed, for they were seen."""
    item_count: int
    items: NDArray[np.int32]
    """int32 [C]: which items are in the pools, ascending in each."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def half(self, second: bool) -> "Pools":
        """The first or the second half of the cases."""
        middle = len(self) // 2
        begin, end = (middle, len(self)) if second else (0, middle)
        cells = slice(int(self.starts[begin]), int(self.starts[end]))
        wanted = slice(int(self.answer_starts[begin]), int(self.answer_starts[end]))
        return Pools(
            self.starts[begin : end + 1] - self.starts[begin],
            {name: values[cells] for name, values in self.shares.items()},
            self.answers[wanted] - self.starts[begin],
            self.answer_starts[begin : end + 1] - self.answer_starts[begin],
            self.found[wanted],
            self.excluded[wanted],
            self.item_count,
            self.items[cells],
        )

    def ranks(self, scores: NDArray[np.float32]) -> Ranks:
        """The ranks of the right answers by ``scores``, float32 [C]; beyond the number of items
        for those that are excluded."""
        own = np.repeat(scores[self.answers], self._sizes)
        others = scores[self._rivals] if self._rivals is not None else scores
        ahead = (others > own) | ((others == own) & self._first)
        ranks = 1 + np.add.reduceat(ahead, self._begins, dtype=np.int64)
        return Ranks(np.where(self.excluded, self.item_count + 1, ranks), self.answer_starts)

    @property
    def answer_rows(self) -> NDArray[np.int64]:
        """int64 [T]: the case of each answer."""
        return np.repeat(np.arange(len(self)), np.diff(self.answer_starts))

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """int64 [T]: how many items each answer is compared with."""
        return np.diff(self.starts)[self.answer_rows]

    @cached_property
    def _begins(self) -> NDArray[np.int64]:
        return np.cumsum(self._sizes) - self._sizes

    @cached_property
    def _rivals(self) -> NDArray[np.int64] | None:
        """The pool of each answer, end to end; None where each case has one answer."""
        if len(self.answers) == len(self):
            return None
        return ranges(self.starts[:-1][self.answer_rows], self._sizes)

    @cached_property
    def _first(self) -> NDArray[np.bool_]:
        """Whether a rival that is level comes before the answer."""
        places = tie_order(self.item_count)[self.items]
        ties = places if self._rivals is None else places[self._rivals]
        first: NDArray[np.bool_] = ties < np.repeat(places[self.answers], self._sizes)
        return first


def gather(shares: Mapping[str, Callable[[Sequences], Shares]], cases: Cases, best: int) -> Pools:
    """The pools of some cases.

    Args:
        shares: method name to what gives a new array of its shares [B, items] for histories.
        cases: what to ask.
        best: how many items of each method join the pool.
    """
    size = cases.histories.item_count
    step = max(1, BATCH_CELLS // size)
    counts, answers, found, excluded, items = [], [], [], [], []
    parts: dict[str, list[Shares]] = {name: [] for name in shares}
    held = 0
    for start in range(0, len(cases), step):
        batch = cases.take(np.arange(start, min(start + step, len(cases))))
        said = {name: of(batch.histories) for name, of in shares.items()}
        seen = seen_items(batch.histories) if batch.seen_excluded else None
        pooled = best_of_each(said, seen, best)
        owners = np.repeat(np.arange(len(batch)), np.diff(batch.target_starts))
        found.append(pooled[owners, batch.targets])
        excluded.append(
            np.zeros(len(owners), bool) if seen is None else seen[owners, batch.targets]
        )
        pooled[owners, batch.targets] = True
        rows, columns = np.nonzero(pooled)
        places = np.cumsum(pooled.ravel()) - 1
        answers.append(held + places[owners * size + batch.targets])
        counts.append(np.bincount(rows, minlength=len(batch)))
        items.append(columns.astype(np.int32))
        for name, values in said.items():
            parts[name].append(values[rows, columns])
        held += len(rows)
    starts = np.zeros(len(cases) + 1, np.int64)
    np.cumsum(np.concatenate(counts), out=starts[1:])
    return Pools(
        starts,
        {name: np.concatenate(part) for name, part in parts.items()},
        np.concatenate(answers).astype(np.int64),
        cases.target_starts,
        np.concatenate(found),
        np.concatenate(excluded),
        size,
        np.concatenate(items),
    )


def best_of_each(
    said: Mapping[str, Shares], seen: NDArray[np.bool_] | None, best: int
) -> NDArray[np.bool_]:
    """bool [B, items]: the ``best`` items of each method, without those ``seen``, bool [B, items],
    whose shares are set to 0."""
    first = next(iter(said.values()))
    pooled = np.zeros(first.shape, bool)
    count = min(best, first.shape[1])
    for values in said.values():
        if seen is not None:
            values[seen] = 0
        top = np.argpartition(values, -count, axis=1)[:, -count:]
        np.put_along_axis(pooled, top, True, axis=1)
    return pooled if seen is None else pooled & ~seen


def seen_items(histories: Sequences) -> NDArray[np.bool_]:
    """bool [B, items]: the items of each history."""
    seen = np.zeros((len(histories), histories.item_count), bool)
    seen[histories.rows, histories.items] = True
    return seen


def shares_of(method: Method, histories: Sequences, *, logits: bool) -> Shares:
    """float32 [B, items]: what a method says of each item, as shares that sum to 1."""
    scores = method.scores(histories)
    return softmax_shares(scores) if logits else counted_shares(scores)


def counted_shares(scores: Scores) -> Shares:
    """Scores that are 0 for nothing known, as shares of their sum; below 0 is 0."""
    shares = np.maximum(scores, 0).astype(np.float32)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.float32(1e-30))
    return shares


def softmax_shares(scores: Scores) -> Shares:
    """Logits as probabilities."""
    logits = scores.astype(np.float32)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
