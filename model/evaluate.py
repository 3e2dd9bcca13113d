"""What a bundle is worth: every item ranked, over next baskets, through ONNX Runtime on the CPU.

The lists judged are made the way a worker makes them: the union of what the sources propose
(``model.log_sources``) and of the network's own nearest, ordered by ``model.blend``. No sampled
metrics: those rank models wrongly (Krichene and Rendle, "On Sampled Metrics for Item
Recommendation", 2020).
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.baselines import DecayedPopularity
from model.blend import Signals
from model.candidate_table import CandidateTable
from model.cold_items import ColdItems
from model.dataset import Baskets, EventLog
from model.features import FIRST_ITEM, PADDING, Histories, PurchaseTable, Vocabulary
from model.item_index import ITEM_VECTORS, STATE_OUTPUTS, IndexFiles, ItemIndex, Nearest
from model.key_places import Keys
from model.log_sources import LogSources, PastProfile, SourcePlan, is_in_log
from model.pool_table import JoinedPools, may_return, with_nearest_of_lists
from model.signals import Origin, looked_at, signals_of
from model.top_metrics import CUT

BATCH = 64
_NO_STATES = np.empty((0, 0), np.float32)


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
        plan: the sources that are asked, and for how much.
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
        plan: SourcePlan | None = None,
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
        self._plan = plan or SourcePlan()
        self._row_of_item = vocabulary.index_of(log.hashes)
        self._item_of_row = np.full(len(vocabulary), -1, np.int64)
        known = self._row_of_item >= FIRST_ITEM
        self._item_of_row[self._row_of_item[known]] = np.flatnonzero(known)

    def candidates(self, baskets: Baskets) -> CandidateTable:
        """Candidates of every basket with all their signals."""
        # By time, so that each day's counts are made once.
        times = np.array([baskets.time(number) for number in range(len(baskets))])
        order = np.argsort(times, kind="stable")
        sources = LogSources(
            self._log,
            popularity_half_life_days=self._half_life_days,
            repeat_half_life_days=self._repeat_half_life_days,
            start=int(times.min()),
            end=int(times.max()),
            plan=self._plan,
            popular=self._popular,
        )
        parts: dict[int, _Scored] = {}
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH].tolist()
            parts.update(zip(numbers, self._score(baskets, numbers, sources), strict=True))
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
            np.concatenate([part.quotas for part in scored]),
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

    def _score(
        self, baskets: Baskets, numbers: list[int], sources: LogSources
    ) -> Iterator["_Scored"]:
        profiles = [self._profile(baskets, number) for number in numbers]
        marked = sources.table(profiles)
        table, most = marked.table, self._plan.quotas[0].nearest
        sizes = np.diff(table.starts)
        is_candidate = np.arange(max(int(sizes.max()), 1)) < sizes[:, None]
        rows = np.full(is_candidate.shape, PADDING, np.int64)
        rows[is_candidate] = self._row_of_item[table.pool.rows]
        features = baskets.inputs(
            numbers, self._vocabulary, self._length,
            queries=self._reads_queries, who=self._reads_who,
        )  # fmt: skip
        found, table_scores, states = self._run({**features._asdict(), "candidates": rows})
        nearest, nearest_scores = self._item_of_row[found.rows[:, :most]], found.scores[:, :most]
        scores = table_scores[is_candidate]
        if self._cold is not None:
            scores = self._cold.rescored(scores, states, table.owner, table.pool.rows)
            cold = self._cold.nearest(states, is_in_log)
            nearest = np.hstack([nearest, cold.rows[:, :most]])
            nearest_scores = np.hstack([nearest_scores, cold.scores[:, :most]])
        owner = np.broadcast_to(np.arange(len(profiles))[:, None], nearest.shape)
        popular = sources.popularity(profiles, nearest, owner)
        yield from self._joined(
            profiles,
            with_nearest_of_lists(table, scores, nearest, nearest_scores, popular, is_in_log),
            marked.quotas,
            nearest,
        )

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

    def _profile(self, baskets: Baskets, number: int) -> PastProfile:
        # The user's own signals are those of the last list a worker made; the shared counts are
        # those of the basket's day, since others go on shopping.
        return PastProfile(
            baskets.interactions(number),
            baskets.purchases(number),
            baskets.as_of(number),
            baskets.time(number),
        )

    def _joined(
        self,
        profiles: Sequence[PastProfile],
        joined: JoinedPools,
        quotas: NDArray[np.uint8],
        nearest: NDArray[np.int64],
    ) -> Iterator["_Scored"]:
        """Take out what may not return; the network's own are candidates whatever the quotas."""
        items = joined.pool.rows
        signals = signals_of(joined.pool, joined.network, self._row_of_item[items])
        marks = np.zeros(len(items), np.uint8)
        marks[: len(quotas)] = quotas
        marks[joined.pool.sources & Origin.NEAREST.value > 0] = np.iinfo(np.uint8).max
        may = self._may_return(profiles, Keys(joined.owner, items))
        owner = np.broadcast_to(np.arange(len(profiles))[:, None], nearest.shape)
        own = is_in_log(nearest)
        own[own] = self._may_return(profiles, Keys(owner[own], nearest[own]))
        for number in range(len(profiles)):
            here = np.flatnonzero((joined.owner == number) & may)
            yield _Scored(
                items[here],
                Signals(
                    **{name: getattr(signals, name)[here] for name in Signals.__struct_fields__}
                ),
                nearest[number][own[number]][:CUT],
                marks[here],
            )

    def _may_return(self, profiles: Sequence[PastProfile], candidates: Keys) -> NDArray[np.bool_]:
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


class _Scored(NamedTuple):
    items: NDArray[np.int64]
    signals: Signals
    nearest: NDArray[np.int64]
    quotas: NDArray[np.uint8]
