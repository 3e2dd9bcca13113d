"""The graph of a bundle as a scorer of all items: what ships is judged, and torch is not needed."""

from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.events import INTERACTION_KINDS, Click
from model.features import (
    FIRST_ITEM,
    Features,
    Interactions,
    Vocabulary,
    featurize,
)
from model.ids import item_hashes
from model.ranks import BATCH_CELLS
from model.sequences import Sequences

UNKNOWN_SCORE = -1e9
"""Of items outside the vocabulary; finite, so that they have a rank, behind all others."""


class ExportedNetwork:
    """What ``model.ranks.judge`` ranks with.

    Args:
        model: the ONNX file, see ``model.export`` for its inputs.
        vocabulary: of the graph.
        item_ids: that are ranked, in the order of the scores.
        length: L of the graph.
        threads: of ONNX Runtime; 0 takes all.
    """

    def __init__(
        self,
        model: Path,
        vocabulary: Vocabulary,
        item_ids: list[str],
        *,
        length: int,
        threads: int = 0,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        # The best K of the vocabulary are of no use here; finding them takes longer than the rest.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        self._vocabulary = vocabulary
        self._length = length
        self._hashes = item_hashes(item_ids)
        rows = vocabulary.index_of(self._hashes)
        self._unknown = rows < FIRST_ITEM
        self._item_count = len(rows)
        self._rows = np.where(self._unknown, FIRST_ITEM, rows)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """float32 [B, items], of histories over the same items."""
        return self.run(self.features(histories))

    def features(self, histories: Sequences) -> Features:
        """What the network reads, see ``features_of``."""
        return features_of(histories, self._hashes, self._vocabulary, self._length)

    def run(self, features: Features) -> NDArray[np.float32]:
        """float32 [B, items] from what the network reads."""
        size = len(features.items)
        candidates = (
            self._batch_rows[:size]
            if size <= len(self._batch_rows)
            else np.tile(self._rows, (size, 1))
        )
        scores: NDArray[np.float32] = self._session.run(
            ["candidate_scores"],
            {**features._asdict(), "item_bias": self._no_bias, "candidates": candidates},
            self._run_options,
        )[0]
        if self._unknown.any():
            scores[:, self._unknown] = UNKNOWN_SCORE
        return scores

    @cached_property
    def _batch_rows(self) -> NDArray[np.int64]:
        """int64 [B, items]: the candidates of as many cases as are judged at once."""
        return np.tile(self._rows, (max(1, BATCH_CELLS // max(1, self._item_count)), 1))

    @cached_property
    def _no_bias(self) -> NDArray[np.float32]:
        return np.zeros(len(self._vocabulary), np.float32)


def features_of(
    histories: Sequences, hashes: NDArray[np.uint64], vocabulary: Vocabulary, length: int
) -> Features:
    """What a network reads.

    Where only the order is known all pauses are 0 seconds, and where there is one kind of event
    all are clicks.

    Args:
        histories: B of them.
        hashes: uint64 [items], of ``histories.item_ids``.
        vocabulary: of the network.
        length: L.
    """
    newest = histories.newest(length + 1)
    times, kinds = newest.times, newest.kinds
    if times is None:
        times = np.zeros(len(newest.items), np.int64)
    if kinds is None:
        kinds = np.full(len(newest.items), INTERACTION_KINDS[Click], np.uint8)
    items = hashes[newest.items]
    bounds = newest.starts.tolist()
    parts = [
        Interactions(items[start:end], kinds[start:end], times[start:end])
        for start, end in pairwise(bounds)
    ]
    return featurize(parts, vocabulary, length)
