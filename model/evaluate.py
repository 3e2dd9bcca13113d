"""What a bundle is worth: every item ranked, over next baskets, through ONNX Runtime on the CPU.

The lists judged are made the way a worker makes them: the union of the user's own repeat items,
items seen together with the newest ones, popular items and the network's own nearest, ordered by
``model.blend``. No sampled metrics: those rank models wrongly (Krichene and Rendle, "On Sampled
Metrics for Item Recommendation", 2020).
"""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.baselines import CoVisits, DecayedPopularity
from model.blend import BlendWeights, Signals, blend
from model.dataset import Baskets, EventLog
from model.features import DAY_MS, FIRST_ITEM, PADDING, Vocabulary, featurize, repeat_strength

CUT = 10
SEEDS = 10
"""Newest distinct items whose neighbours become candidates."""
POPULAR = 100
BATCH = 64


class TopMetrics(NamedTuple):
    """Means over baskets."""

    hit: float
    """Share of baskets of which at least one item is among the first ten."""
    ndcg: float
    """Discounted gain of the first ten over the best possible (binary gains, log2 discount)."""
    baskets: int

    def named(self) -> dict[str, float]:
        """For the manifest."""
        return {"hit@10": self.hit, "ndcg@10": self.ndcg, "baskets": float(self.baskets)}


def rank_metrics(
    lists: Sequence[Sequence[Hashable] | NDArray[np.int64]],
    baskets: Sequence[Collection[Hashable]],
) -> TopMetrics:
    """Hit@10 and NDCG@10 of lists (best first) against what was bought, pairwise.

    Raises:
        ValueError: when there is nothing to judge, or not one list for each basket.
    """
    if len(lists) != len(baskets) or not len(baskets):
        raise ValueError(f"{len(lists)} lists for {len(baskets)} baskets; need as many, and some")
    discounts = 1.0 / np.log2(np.arange(2, CUT + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    hits, gains = 0, 0.0
    for ranked, bought in zip(lists, baskets, strict=True):
        first = ranked[:CUT].tolist() if isinstance(ranked, np.ndarray) else list(ranked[:CUT])
        found = [place for place, item in enumerate(first) if item in bought]
        hits += bool(found)
        gains += float(discounts[found].sum() / best[min(len(bought), CUT)]) if bought else 0.0
    return TopMetrics(hits / len(baskets), gains / len(baskets), len(baskets))


@dataclass(frozen=True)
class CandidateTable:
    """All candidates of all baskets: flat arrays of one length, sorted by basket."""

    baskets: Baskets
    basket: NDArray[np.int64]
    item: NDArray[np.int64]
    """Positions in ``baskets.log.item_ids``."""
    signals: Signals
    """float32 [M] each."""
    bought: NDArray[np.bool_]
    nearest: list[NDArray[np.int64]]
    """The network's own list of each basket, as item positions."""

    def lists(self, weights: BlendWeights) -> list[NDArray[np.int64]]:
        """The first ten of each basket by the blend."""
        return self.top(blend(weights, self.signals))

    def top(self, scores: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """The first ten of each basket by ``scores`` float32 [M]."""
        starts = np.searchsorted(self.basket, np.arange(len(self.baskets) + 1))
        return [
            self.item[start:end][np.argsort(-scores[start:end], kind="stable")[:CUT]]
            for start, end in pairwise(starts.tolist())
        ]

    def metrics(self, weights: BlendWeights) -> TopMetrics:
        """Of the blended lists."""
        return rank_metrics(self.lists(weights), self.baskets.target_sets())


class Judge:
    """Makes candidates for baskets as a worker does, with an exported graph.

    Args:
        model: the ONNX file.
        vocabulary: of the graph.
        log: all rows; each basket is served from what came before it.
        length: L of the graph.
        popularity_half_life_days: of popularity and co-visits.
        repeat_half_life_days: of the repeat strength.
        repeats_allowed: False leaves out whatever the user has dealt with.
    """

    def __init__(
        self,
        model: Path,
        vocabulary: Vocabulary,
        log: EventLog,
        *,
        length: int,
        popularity_half_life_days: float,
        repeat_half_life_days: float,
        repeats_allowed: bool = True,
    ) -> None:
        self._session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self._vocabulary = vocabulary
        self._log = log
        self._length = length
        self._repeat_half_life_days = repeat_half_life_days
        self._repeats_allowed = repeats_allowed
        self._popular = DecayedPopularity(log, popularity_half_life_days)
        self._half_life_days = popularity_half_life_days
        self._row_of_item = vocabulary.index_of(log.hashes)
        self._item_of_row = np.full(len(vocabulary), -1, np.int64)
        known = self._row_of_item >= FIRST_ITEM
        self._item_of_row[self._row_of_item[known]] = np.flatnonzero(known)

    def candidates(self, baskets: Baskets) -> CandidateTable:
        """Candidates of every basket with all their signals."""
        # By time, so that each day's counts are made once.
        times = np.array([baskets.time(number) for number in range(len(baskets))])
        order = np.argsort(times, kind="stable")
        self._together = CoVisits(
            self._log, self._half_life_days, int(times.min()), int(times.max())
        )
        parts: dict[int, _Scored] = {}
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH].tolist()
            parts.update(zip(numbers, self._score(baskets, numbers), strict=True))
        scored = [parts[number] for number in range(len(baskets))]
        bought = [
            np.isin(part.items, baskets.targets(number), kind="sort")
            for number, part in enumerate(scored)
        ]
        signals = Signals(
            **{
                name: np.concatenate([getattr(part, name) for part in scored])
                for name in ("rows", "network", "repeat", "covisit", "popular")
            }
        )
        return CandidateTable(
            baskets,
            np.repeat(np.arange(len(baskets)), [len(part.items) for part in scored]),
            np.concatenate([part.items for part in scored]),
            signals,
            np.concatenate(bought),
            [part.nearest for part in scored],
        )

    def _score(self, baskets: Baskets, numbers: list[int]) -> Iterator["_Scored"]:
        gathered = [self._gather(baskets, number) for number in numbers]
        widest = max(len(each.items) for each in gathered)
        rows = np.full((len(numbers), max(widest, 1)), PADDING, np.int64)
        for place, each in enumerate(gathered):
            rows[place, : len(each.items)] = self._row_of_item[each.items]
        histories = [baskets.interactions(number) for number in numbers]
        features = featurize(histories, self._vocabulary, self._length)
        bias = np.zeros(len(self._vocabulary), np.float32)
        top_rows, top_scores, scores = self._session.run(
            ["top_items", "top_scores", "candidate_scores"],
            {**features._asdict(), "item_bias": bias, "candidates": rows},
        )
        for place, each in enumerate(gathered):
            yield self._join(each, scores[place], self._item_of_row[top_rows[place]],
                             top_scores[place])  # fmt: skip

    def _gather(self, baskets: Baskets, number: int) -> "_Gathered":
        # The user's own signals are those of the last list a worker made; the shared counts are
        # those of the basket's day, since others go on shopping.
        time = baskets.time(number)
        hashes, strength = repeat_strength(
            baskets.purchases(number), baskets.as_of(number) // DAY_MS, self._repeat_half_life_days
        )
        own = self._log.positions_of(hashes)
        history = self._log.items[baskets.history_starts[number] : baskets.history_ends[number]]
        seeds = list(dict.fromkeys(history[: -4 * SEEDS - 1 : -1].tolist()))[:SEEDS]
        near, weights = self._together.of(seeds, time)
        popular = self._popular.top(time, POPULAR)
        held = np.zeros(len(self._log.item_ids), bool)
        for part in (own, near, popular):
            held[part] = True
        items = np.flatnonzero(held)
        repeat = np.zeros(len(items), np.float32)
        repeat[np.searchsorted(items, own)] = strength
        covisit = np.bincount(np.searchsorted(items, near), weights, len(items))
        barred = np.empty(0, np.int64) if self._repeats_allowed else np.union1d(own, history)
        return _Gathered(
            items, repeat, covisit.astype(np.float32), self._popular.counts(time), barred
        )

    def _join(
        self,
        gathered: "_Gathered",
        scores: NDArray[np.float32],
        nearest: NDArray[np.int64],
        nearest_scores: NDArray[np.float32],
    ) -> "_Scored":
        """Add the network's own nearest to the candidates that were scored with it."""
        barred = np.zeros(len(self._log.item_ids), bool)
        barred[gathered.barred] = True
        held = np.zeros(len(barred), bool)
        held[gathered.items] = True
        allowed, kept = ~barred[nearest], ~barred[gathered.items]
        fresh = allowed & ~held[nearest]
        items = np.concatenate([gathered.items[kept], nearest[fresh]])
        nothing = np.zeros(int(fresh.sum()), np.float32)
        network = scores[: len(gathered.items)][kept]
        return _Scored(
            items=items,
            rows=self._row_of_item[items],
            network=np.concatenate([network, nearest_scores[fresh]]),
            repeat=np.concatenate([gathered.repeat[kept], nothing]),
            covisit=np.concatenate([gathered.covisit[kept], nothing]),
            popular=gathered.popular[items].astype(np.float32),
            nearest=nearest[allowed][:CUT],
        )


class _Gathered(NamedTuple):
    items: NDArray[np.int64]
    repeat: NDArray[np.float32]
    covisit: NDArray[np.float32]
    popular: NDArray[np.float64]
    """Of every item of the log."""
    barred: NDArray[np.int64]


class _Scored(NamedTuple):
    items: NDArray[np.int64]
    rows: NDArray[np.int64]
    network: NDArray[np.float32]
    repeat: NDArray[np.float32]
    covisit: NDArray[np.float32]
    popular: NDArray[np.float32]
    nearest: NDArray[np.int64]
