"""A learned re-ranking of what several methods propose.

The pool of a history is the best items of each method. A small network scores each item of it by
all that the methods say of it together, how new and how common it is, and what the history has to
do with it (``model.pool_features``). Weights of a mixture are the same for everybody; here they
depend on the case. What is in no pool follows behind, by the mean of the methods' shares.

It learns on validation cases, of which the methods know as little as of the test's, and is judged
as the ONNX graph that ships.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.item_facts import item_facts
from model.method import Method, Scores, Setting
from model.pool_features import pool_features
from model.pools import Pools, Shares, best_of_each, gather, seen_items, shares_of
from model.ranks import Objective
from model.reranking_network import RerankingSession, RerankingSettings, learn_reranking
from model.sequences import Cases, Sequences


class Reranker:
    """The method.

    Args:
        objective: what ``held_out`` is measured by.
        sources: the methods that propose, by name.
        logits: names of those whose scores are logits; of the others, a score of 0 says nothing.
        sources_shared: whether they are the caller's, who fits and refits them before this method.
        in_order: whether sequences follow each other in time, see ``model.item_facts``.
        settings: of the network.
        cases: at most so many validation cases are learned from.
        best: so many of the best items of each source are re-ranked.
        seed: draws those cases, and the network.

    Raises:
        ValueError: when there is no source.
    """

    def __init__(
        self,
        objective: Objective,
        sources: Mapping[str, Method],
        *,
        logits: Collection[str] = (),
        sources_shared: bool = False,
        in_order: bool = False,
        settings: RerankingSettings | None = None,
        cases: int = 25_000,
        best: int = 40,
        seed: int = 0,
    ) -> None:
        if not sources:
            raise ValueError("a re-ranking of no methods; give at least one")
        self._objective = objective
        self._sources = dict(sources)
        self._logits = frozenset(logits)
        self._sources_shared = sources_shared
        self._in_order = in_order
        self._settings = settings or RerankingSettings()
        self._cases = cases
        self._best = best
        self._seed = seed
        self._session: RerankingSession | None = None
        self._seen_excluded = False
        self._facts: dict[str, NDArray[np.float32]] = {}
        self.held_out: float | None = None
        """The objective, learned on one half of the cases and judged on the other."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn the sources, unless they are; then the re-ranking, on ``validation``.

        Raises:
            ValueError: without validation, or when no source ever has a right answer in its best.
        """
        if validation is None:
            raise ValueError("a re-ranking is learned on validation cases; give some")
        if not self._sources_shared:
            for source in self._sources.values():
                source.fit(train, validation)
        self._facts = item_facts(train, in_order=self._in_order)
        self._seen_excluded = validation.seen_excluded
        sample = validation.sample(self._cases, self._seed)
        shares = {name: partial(self._shares, name) for name in self._sources}
        pools = gather(shares, sample, self._best)
        features = self._features(pools.starts, pools.items, pools.shares, sample.histories)
        self.held_out = self._held_out(pools, features)
        self._session = self._learned(pools, features)

    def refit(self, train: Sequences) -> None:
        """Learn sources and facts from other sequences; the re-ranking stays as it is."""
        if not self._sources_shared:
            for source in self._sources.values():
                source.refit(train)
        self._facts = item_facts(train, in_order=self._in_order)

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]: above 1 in the pool, at most 1 behind it.

        Raises:
            ValueError: before ``fit``.
        """
        if self._session is None:
            raise ValueError("this re-ranking has learned nothing yet; call fit first")
        said = {name: self._shares(name, histories) for name in self._sources}
        seen = seen_items(histories) if self._seen_excluded else None
        pooled = best_of_each(said, seen, self._best)
        rows, columns = np.nonzero(pooled)
        total = np.zeros((len(histories), histories.item_count), np.float32)
        for values in said.values():
            total += values / np.float32(len(said))
        if not len(rows):
            return total
        shares = {name: values[rows, columns] for name, values in said.items()}
        # Histories whose every item was seen have no pool, and features are of pools alone.
        owners, counts = np.unique(rows, return_counts=True)
        starts = np.append(0, np.cumsum(counts))
        items = columns.astype(np.int32)
        features = self._features(starts, items, shares, histories.take(owners))
        found = self._session.scores(features)
        found -= np.repeat(np.minimum.reduceat(found, starts[:-1]), counts)
        total[rows, columns] = found + 2
        return total

    def settings(self) -> Mapping[str, Setting]:
        """Those of the network, and how many items of each source it sees."""
        return {**asdict(self._settings), "best": self._best}

    def _shares(self, name: str, histories: Sequences) -> Shares:
        return shares_of(self._sources[name], histories, logits=name in self._logits)

    def _features(
        self,
        starts: NDArray[np.int64],
        items: NDArray[np.int32],
        shares: Mapping[str, Shares],
        histories: Sequences,
    ) -> NDArray[np.float32]:
        named = pool_features(starts, items, shares, histories, self._facts)
        return np.stack(list(named.values()), axis=1)

    def _learned(self, pools: Pools, features: NDArray[np.float32]) -> RerankingSession:
        """From the answers that any source has among its best."""
        found = np.add.reduceat(pools.found, pools.answer_starts[:-1], dtype=np.int64)
        graph = learn_reranking(
            features,
            pools.starts,
            pools.answers[pools.found],
            np.append(0, np.cumsum(found)),
            self._settings,
            self._seed,
        )
        return RerankingSession(graph)

    def _held_out(self, pools: Pools, features: NDArray[np.float32]) -> float | None:
        first, second = pools.half(second=False), pools.half(second=True)
        if not (first.found.any() and second.found.any()):
            return None
        cut = len(first.items)
        halves = [(first, features[:cut]), (second, features[cut:])]
        reached = []
        for (own, own_features), (other, other_features) in (halves, halves[::-1]):
            scores = self._learned(own, own_features).scores(other_features)
            # In the pool only because it is right: no list would hold it.
            scores[other.answers[~other.found]] = -np.inf
            reached.append(self._objective(other.ranks(scores)))
        return float(np.mean(reached))
