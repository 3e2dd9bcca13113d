"""What a bundle is worth: every item ranked, over next baskets, through ONNX Runtime on the CPU.

The lists judged are made the way a worker makes them: the union of the user's own repeat items,
items seen together with the newest ones, popular items and the network's own nearest, ordered by
``model.blend``. No sampled metrics: those rank models wrongly (Krichene and Rendle, "On Sampled
Metrics for Item Recommendation", 2020).
"""

import os
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.baselines import CoVisits, DecayedPopularity
from model.blend import BlendWeights, Signals, blend
from model.cold_items import ColdItems
from model.dataset import Baskets, EventLog
from model.features import (
    FIRST_ITEM,
    PADDING,
    Histories,
    Interactions,
    Purchases,
    PurchaseTable,
    Vocabulary,
)
from model.item_index import ITEM_VECTORS, STATE_OUTPUTS, IndexFiles, ItemIndex, Nearest
from model.key_places import Keys
from model.pool_table import (
    Entries,
    PoolTable,
    best_of_lists,
    entries_of_lists,
    may_return,
    only_usable,
    unite_lists,
    with_nearest_of_lists,
)
from model.signals import (
    POPULAR,
    Origin,
    Weighted,
    looked_at,
    own_repeat,
    seeds_of,
    signals_of,
)

CUT = 10
BATCH = 64
_NO_STATES = np.empty((0, 0), np.float32)


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


class Listed(NamedTuple):
    """What stands on the lists of all baskets; arrays of one length."""

    scores: NDArray[np.float32]
    """Of the blend."""
    taken: NDArray[np.bool_]
    """Whether the item is in the basket."""
    users: NDArray[np.int64]
    """Whose list it is."""


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
        no_query = np.zeros(len(scores), np.float32)
        chosen = best_of_lists(
            self.basket, no_query, scores, self.item, lists=len(self.baskets), length=CUT
        )
        return np.split(self.item[chosen.places], chosen.ends[:-1])

    def metrics(self, weights: BlendWeights) -> TopMetrics:
        """Of the blended lists."""
        return rank_metrics(self.lists(weights), self.baskets.target_sets())

    def listed(self, weights: BlendWeights, lists: int) -> Listed:
        """The first ten of at most ``lists`` baskets, evenly spread, with their scores."""
        here = np.flatnonzero(self.basket % max(1, -(-len(self.baskets) // lists)) == 0)
        basket, scores = self.basket[here], blend(weights, self.signals)[here]
        order = np.lexsort((self.item[here], -scores, basket))
        place = np.arange(len(order)) - np.searchsorted(basket, basket)
        first = order[place < CUT]
        owners = self.baskets.log.users[self.baskets.ends - 1].astype(np.int64)
        return Listed(scores[first], self.bought[here[first]], owners[basket[first]])


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
        index: finds the nearest items in the place of the model.
        top_k: how many, of an index; a model says it itself.
        cold: vectors of items outside the vocabulary, by position in ``log.item_ids``; None where
            the bundle has no item tower.
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
        index: IndexFiles | None = None,
        top_k: int = 0,
        cold: ColdItems | None = None,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._index = ItemIndex.read(index, threads=os.cpu_count() or 1) if index else None
        self._top_k = top_k
        self._cold = cold
        self._session = onnxruntime.InferenceSession(
            str(index.states if index else model), options, providers=["CPUExecutionProvider"]
        )
        read = {each.name for each in self._session.get_inputs()}
        self._reads_queries, self._reads_who = "queries" in read, "who" in read
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
                name: np.concatenate([getattr(part.signals, name) for part in scored])
                for name in Signals.__struct_fields__
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

    def states(self, baskets: Baskets) -> NDArray[np.float32]:
        """The states of the users of N baskets, float32 [N, D + 1], the last column 1.

        Raises:
            ValueError: there are no cold items, so that nothing is scored by states.
        """
        if self._cold is None:
            raise ValueError("states score items outside the vocabulary; give some")
        found = []
        for start in range(0, len(baskets), BATCH):
            features = baskets.inputs(
                range(start, min(start + BATCH, len(baskets))), self._vocabulary, self._length,
                queries=self._reads_queries, who=self._reads_who,
            )  # fmt: skip
            found.append(self._run({**features._asdict(), "candidates": features.items[:, -1:]})[2])
        return np.concatenate(found)

    def _score(self, baskets: Baskets, numbers: list[int]) -> Iterator["_Scored"]:
        profiles = [self._profile(baskets, number) for number in numbers]
        table = self._table(profiles)
        sizes = np.diff(table.starts)
        is_candidate = np.arange(max(int(sizes.max()), 1)) < sizes[:, None]
        rows = np.full(is_candidate.shape, PADDING, np.int64)
        rows[is_candidate] = self._row_of_item[table.pool.rows]
        features = baskets.inputs(
            numbers, self._vocabulary, self._length,
            queries=self._reads_queries, who=self._reads_who,
        )  # fmt: skip
        found, table_scores, states = self._run({**features._asdict(), "candidates": rows})
        nearest, nearest_scores = self._item_of_row[found.rows], found.scores
        scores = table_scores[is_candidate]
        if self._cold is not None:
            scores = self._cold.rescored(scores, states, table.owner, table.pool.rows)
            cold = self._cold.nearest(states, _is_in_log)
            nearest = np.hstack([nearest, cold.rows])
            nearest_scores = np.hstack([nearest_scores, cold.scores])
        yield from self._joined(profiles, table, scores, nearest, nearest_scores)

    def _run(
        self, inputs: dict[str, NDArray[np.int64]]
    ) -> tuple[Nearest, NDArray[np.float32], NDArray[np.float32]]:
        """The nearest items of B users, scores of their candidates, and states for cold items."""
        bias = np.zeros(len(self._vocabulary), np.float32)
        if self._index is None:
            asked = ["top_items", "top_scores", "candidate_scores"]
            asked += ["states"] if self._cold is not None else []
            rows, nearest_scores, scores, *states = self._session.run(
                asked, {**inputs, "item_bias": bias}
            )
            return Nearest(rows, nearest_scores), scores, states[0] if states else _NO_STATES
        states, scores = self._session.run(
            list(STATE_OUTPUTS), {**inputs, ITEM_VECTORS: self._index.vectors}
        )
        return self._index.nearest(states, bias, self._top_k), scores, states

    def _profile(self, baskets: Baskets, number: int) -> "_Profile":
        # The user's own signals are those of the last list a worker made; the shared counts are
        # those of the basket's day, since others go on shopping.
        return _Profile(
            baskets.interactions(number),
            baskets.purchases(number),
            baskets.as_of(number),
            baskets.time(number),
        )

    def _table(self, profiles: Sequence["_Profile"]) -> PoolTable:
        bought = PurchaseTable.of([each.purchases for each in profiles])
        as_of = np.array([profile.as_of for profile in profiles])
        strength = own_repeat(bought, as_of, self._repeat_half_life_days)
        seeds, starts = seeds_of(Histories.of([profile.history for profile in profiles]))
        own = np.split(self._log.positions_of(seeds), starts[1:-1])
        together = [
            Weighted(*self._together.of(each.tolist(), profile.time))
            for profile, each in zip(profiles, own, strict=True)
        ]
        popular = [self._popular.top(profile.time, POPULAR) for profile in profiles]
        found = {
            Origin.REPEAT: Entries(bought.owner, self._log.positions_of(bought.items), strength),
            Origin.TOGETHER: entries_of_lists(together),
            Origin.POPULAR: entries_of_lists(
                [Weighted(items, np.ones(len(items))) for items in popular]
            ),
        }
        table, _ = unite_lists(
            {origin: only_usable(entries, _is_in_log) for origin, entries in found.items()},
            len(profiles),
            lambda items, owner: self._popularity(profiles, items, owner),
        )
        return table

    def _popularity(
        self,
        profiles: Sequence["_Profile"],
        items: NDArray[np.int64],
        owner: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Of items, each as of the time of the profile whose number stands in ``owner``."""
        counts = np.zeros(items.shape, np.float32)
        for number, profile in enumerate(profiles):
            here = owner == number
            counts[here] = self._popular.counts(profile.time)[items[here]]
        return counts

    def _joined(
        self,
        profiles: Sequence["_Profile"],
        table: PoolTable,
        scores: NDArray[np.float32],
        nearest: NDArray[np.int64],
        nearest_scores: NDArray[np.float32],
    ) -> Iterator["_Scored"]:
        """Add the network's own nearest, take out what may not return."""
        owner = np.broadcast_to(np.arange(len(profiles))[:, None], nearest.shape)
        popular = self._popularity(profiles, nearest, owner)
        joined = with_nearest_of_lists(table, scores, nearest, nearest_scores, popular, _is_in_log)
        items = joined.pool.rows
        signals = signals_of(joined.pool, joined.network, self._row_of_item[items])
        may = self._may_return(profiles, Keys(joined.owner, items))
        own = _is_in_log(nearest)
        own[own] = self._may_return(profiles, Keys(owner[own], nearest[own]))
        for number in range(len(profiles)):
            here = np.flatnonzero((joined.owner == number) & may)
            yield _Scored(
                items[here],
                Signals(
                    **{name: getattr(signals, name)[here] for name in Signals.__struct_fields__}
                ),
                nearest[number][own[number]][:CUT],
            )

    def _may_return(self, profiles: Sequence["_Profile"], candidates: Keys) -> NDArray[np.bool_]:
        looking_at = [looked_at(profile.history) for profile in profiles]
        current = np.full(len(profiles), -1, np.int64)
        current[[hashed is not None for hashed in looking_at]] = self._log.positions_of(
            np.array([hashed for hashed in looking_at if hashed is not None], np.uint64)
        )
        seen: list[Keys] = []
        if not self._repeats_allowed:
            histories = Histories.of([profile.history for profile in profiles])
            bought = PurchaseTable.of([each.purchases for each in profiles])
            seen = [
                Keys(histories.owner, self._log.positions_of(histories.items)),
                Keys(bought.owner, self._log.positions_of(bought.items)),
            ]
        return may_return(candidates, current, seen)


def _is_in_log(items: NDArray[np.int64]) -> NDArray[np.bool_]:
    return items >= 0


class _Profile(NamedTuple):
    """A user as a worker knows him when a list is made."""

    history: Interactions
    purchases: Purchases
    as_of: int
    """Event time of the list's cause, epoch ms."""
    time: int
    """Of the basket, epoch ms."""


class _Scored(NamedTuple):
    items: NDArray[np.int64]
    signals: Signals
    nearest: NDArray[np.int64]
