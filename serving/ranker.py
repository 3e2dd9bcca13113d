"""From users' histories and candidates to scores: one call per micro-batch."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.features import Interactions, NetworkInputs, Searches, featurize
from model.item_index import ITEM_VECTORS
from serving.execution import PROVIDERS, Execution
from serving.list_request import RequestTable
from serving.nearest import chosen_index
from serving.ranking_session import RankingSession

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

WARM_UP_NEWS_S = 5.0


class RankerError(RuntimeError):
    """ONNX Runtime failed on a run."""


@dataclass(frozen=True)
class Scores:
    """What one run gives; see ``model.export`` for the graph."""

    top_rows: NDArray[np.int64]
    """[B, K] vocabulary rows, best first."""
    top_scores: NDArray[np.float32]
    candidate_scores: NDArray[np.float32]
    """[B, C]"""
    states: NDArray[np.float32] | None = None
    """[B, D + 1], the last column 1; None where the graph does not give them."""


class Ranker:
    """Scores users' candidates and finds each user's nearest items over the whole vocabulary.

    Args:
        bundle: what to load.
        execution: how to run it.

    Raises:
        model.bundle.BundleError: the bundle has no such graph, or no index.
        serving.execution.ProviderError: the provider is not in use.
        RankerError: a run fails already now.
    """

    def __init__(self, bundle: Bundle, execution: Execution) -> None:
        self.provider = PROVIDERS[execution.provider]
        self._vocabulary = bundle.vocabulary
        self._length = bundle.manifest.history_length
        self._top_k = bundle.manifest.top_k
        self.index = chosen_index(
            bundle, execution.nearest, provider=execution.provider,
            precision=execution.precision, threads=execution.threads,
        )  # fmt: skip
        """None where all items are scored."""
        if self.index is None:
            graph, held = bundle.graph(execution.precision), {}
        else:
            graph, held = bundle.index_files().states, {ITEM_VECTORS: self.index.vectors}
        self._session = RankingSession(graph, execution, self._length, held=held)
        self.reads_queries = self._session.reads_queries
        """Whether runs need what users have searched for."""
        self.reads_who = self._session.reads_who
        """Whether runs need who users are."""
        self._warm_up(execution.warm_up_s)
        logger.info(
            "bundle %s (%s) on %s", bundle.manifest.version, execution.precision, self.provider
        )

    def rank(
        self,
        histories: Sequence[Interactions],
        candidates: NDArray[np.int64],
        item_bias: NDArray[np.float32],
        searches: list[Searches] | None,
        bias_edition: int | None = None,
        who: NDArray[np.int64] | None = None,
    ) -> Scores:
        """One micro-batch of B users.

        Args:
            histories: what each user did, oldest first.
            candidates: int64 [B, C], vocabulary rows to score for each, ``PADDING`` behind them.
            item_bias: float32 [V], added before the nearest are taken.
            searches: of each; None does where the network reads no queries.
            bias_edition: another number whenever what ``item_bias`` holds has changed, so that it
                need not be brought to the device for every run; None: it is.
            who: ``model.who.who_rows``; None does where the network does not read them.

        Raises:
            RankerError: ONNX Runtime failed.
            ValueError: what ``features`` raises.
        """
        return self.run(
            self.features(histories, searches, who), candidates, item_bias, bias_edition
        )

    def features(
        self,
        histories: Sequence[Interactions],
        searches: list[Searches] | None,
        who: NDArray[np.int64] | None = None,
    ) -> NetworkInputs:
        """What the network reads of B users, for ``run``.

        Raises:
            ValueError: the network reads queries, and ``searches`` is None, or who users are, and
                ``who`` is None.
        """
        if self.reads_who and who is None:
            raise ValueError("this bundle's network reads who users are; give their rows")
        if self.reads_queries and searches is None:
            raise ValueError("this bundle's network reads queries; give the users' searches")
        return featurize(
            histories, self._vocabulary, self._length,
            searches if self.reads_queries else None, who if self.reads_who else None,
        )  # fmt: skip

    def features_of(self, requests: RequestTable) -> NetworkInputs:
        """The same of the users of lists; only what the network reads is unpacked."""
        return self.features(
            requests.histories,
            requests.searches() if self.reads_queries else None,
            requests.who if self.reads_who else None,
        )

    def run(
        self,
        features: NetworkInputs,
        candidates: NDArray[np.int64],
        item_bias: NDArray[np.float32],
        bias_edition: int | None = None,
    ) -> Scores:
        """As ``rank``, of features that are made. Raises RankerError."""
        return self._in_turn(
            lambda: self.score(features, candidates, item_bias, bias_edition), len(candidates)
        )

    def score(
        self,
        features: NetworkInputs,
        candidates: NDArray[np.int64],
        item_bias: NDArray[np.float32],
        bias_edition: int | None = None,
    ) -> Scores:
        """As ``rank``, of arrays that are ready, in the calling thread.

        Args:
            features: of B users.
            candidates: int64 [B, C].

        Raises:
            RankerError: ONNX Runtime failed.
        """
        inputs = {**features._asdict(), "item_bias": item_bias, "candidates": candidates}
        try:
            outputs = self._session.run(inputs, bias_edition)
        except Exception as error:  # ONNX Runtime's own types are not public
            raise RankerError(f"ONNX Runtime failed on {len(candidates)} users: {error}") from error
        if self.index is None:
            return Scores(*outputs)
        states, scores = outputs
        nearest = self.index.nearest(states, item_bias, self._top_k, bias_edition)
        return Scores(*nearest, scores, states)

    async def beside(self, run: Callable[[], Found], users: int) -> Found:
        """Make a run (of ``score``, for so many users) in another thread than that of the loop.

        Raises RankerError.
        """
        return await asyncio.to_thread(self._in_turn, run, users)

    def _in_turn(self, run: Callable[[], Found], users: int) -> Found:
        """Make a run for a caller that waits in its thread."""
        return run()

    def _warm_up(self, seconds: float) -> None:
        """The first run of a shape allocates; no event should wait for that."""
        buckets = self._session.buckets.warmed()
        begun = told = time.monotonic()
        for number, bucket in enumerate(buckets, start=1):
            try:
                self._in_turn(partial(self._session.warm, bucket), bucket.users)
            except RankerError:
                raise
            except Exception as error:  # ONNX Runtime's own types are not public
                raise RankerError(f"ONNX Runtime failed on {bucket}: {error}") from error
            now = time.monotonic()
            if now - begun >= seconds and number < len(buckets):
                logger.warning(
                    "warm-up ends after %.1f s with %d of %d shapes; runs of the others are slow "
                    "the first time (NEXTCLICK_WARM_UP_S)", now - begun, number, len(buckets),
                )  # fmt: skip
                return
            if now - told >= WARM_UP_NEWS_S:
                told = now
                logger.info("warm-up: %d of %d shapes", number, len(buckets))
