"""An index of a network's items, measured, and admitted only if lists stay as good.

A large catalogue gets one: a run on a CPU then costs hardly more for a million items than for a
hundred thousand. A search reads as many of the index' lists as it takes to find most of the exact
nearest of real users, and more where what is recommended in the end would otherwise be worse; if
that does not help, the bundle gets no index (as with ``model.variants``).
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import INDEX_FILES
from model.features import NetworkInputs
from model.index_lists import make_lists
from model.index_report import IndexReport
from model.item_index import ITEM_VECTORS, STATE_OUTPUTS, IndexFiles, ItemIndex
from model.nearest import recall
from model.state_graph import StateGraphError, cut_state_graph

INDEX_FROM = 50_000
"""Items from which an index is made unasked: a run for 64 users on one core (AMD EPYC, 64 numbers
an item, .975 of the nearest found, ``benchmarks.pinned``) then takes 15.2 ms in place of 16.6, that
for one 0.6 in place of 1.7; with a hundred thousand 19.3 in place of 28.7, and 1.2 in place of
3.1."""
RECALL = 0.975
"""Share of the exact nearest that a search should find, so that other users' is .97 at least."""
FIRST_PROBED = 8
PROBED_STEP = 1.5
MOST_SHARE = 8
"""A search reads one list in so many at most: beyond that the product costs less."""
MOST_NDCG_LOST = 0.005
"""Share of the NDCG@10 with the exact nearest that an index may cost: half a percent."""
MAX_DIFFERENCE = 1e-3
RUNS = {1: 31, 64: 7}
"""Users of a run, and runs of which the median counts."""
BATCH = 64

Indexing: TypeAlias = Literal["auto", "always", "never"]
"""Whether an index is made: from ``INDEX_FROM`` items on, or as said."""
Quality: TypeAlias = Callable[[IndexFiles | None], float]
_Inputs: TypeAlias = dict[str, NDArray[np.generic]]


def is_wanted(indexing: Indexing, items: int) -> bool:
    """Whether a network of so many items gets an index."""
    return indexing == "always" or (indexing == "auto" and items >= INDEX_FROM)


def make_index(
    model: Path, folder: Path, users: NetworkInputs, top_k: int, quality: Quality
) -> tuple[IndexReport, IndexFiles | None]:
    """Make, measure and judge an index of an exported graph.

    Args:
        model: the full graph, see ``model.export``.
        folder: where to write the files.
        users: real ones.
        top_k: of the full graph.
        quality: NDCG@10 on validation baskets of lists with the nearest items of an index, and of
            those with the exact ones (None).

    Returns:
        A report, and the files if the index was admitted.

    Raises:
        model.state_graph.StateGraphError: the graph without the product gives other scores.
    """
    files = IndexFiles(*(folder / name for name in INDEX_FILES))
    vectors = cut_state_graph(model, files.states)
    np.save(files.vectors, vectors, allow_pickle=False)
    exact = _Exact(model, files, users, vectors, top_k)
    index = ItemIndex(make_lists(vectors, exact.states), vectors, threads=1)
    read_enough(index, lambda: exact.recall_of(index))
    whole = quality(None)
    while True:
        index.write(files.lists)
        ndcg = quality(files)
        lost = 1.0 - ndcg / whole if whole > 0 else 0.0
        if lost <= MOST_NDCG_LOST or index.probed >= most_probed(index):
            break
        _read_more(index)
    report = IndexReport(
        bytes=sum(file.stat().st_size for file in files),
        lists=index.lists,
        probed=index.probed,
        top_k=top_k,
        recall=exact.recall_of(index),
        milliseconds={str(size): exact.milliseconds(size, index) for size in RUNS},
        exact_milliseconds={str(size): exact.milliseconds(size) for size in RUNS},
        ndcg=ndcg,
        ndcg_lost=lost,
        admitted=lost <= MOST_NDCG_LOST,
    )
    return report, files if report.admitted else None


def read_enough(index: ItemIndex, recall: Callable[[], float]) -> None:
    """Have a search read as many lists as it takes to find ``RECALL`` of the nearest.

    Args:
        index: as it was made.
        recall: of the index as it is set.
    """
    index.probed = FIRST_PROBED
    while recall() < RECALL and index.probed < most_probed(index):
        _read_more(index)


def most_probed(index: ItemIndex) -> int:
    """Lists that a search reads at most."""
    return max(FIRST_PROBED, index.lists // MOST_SHARE)


def _read_more(index: ItemIndex) -> None:
    index.probed = min(round(PROBED_STEP * index.probed), most_probed(index))


class _Exact:
    """What the full graph says of some users, beside the graph of their states."""

    def __init__(
        self,
        model: Path,
        files: IndexFiles,
        users: NetworkInputs,
        vectors: NDArray[np.float32],
        top_k: int,
    ) -> None:
        self._whole, self._cut = _session(model), _session(files.states)
        self._users, self._vectors, self._top_k = users, vectors, top_k
        self._no_bias = np.zeros(len(vectors), np.float32)
        parts = [self._compared(start) for start in range(0, len(users.items), BATCH)]
        self.states = np.concatenate([states for states, _ in parts])
        """float32 [N, D + 1]"""
        self.nearest = np.concatenate([rows for _, rows in parts])
        """int64 [N, K], of the full graph."""

    def recall_of(self, index: ItemIndex) -> float:
        """Share of the nearest that the index finds."""
        return recall(index.nearest(self.states, self._no_bias, self._top_k).rows, self.nearest)

    def milliseconds(self, size: int, index: ItemIndex | None = None) -> float:
        """Processor time of one run of ``size`` users on one thread, the median of some."""
        inputs = self._inputs(np.arange(size) % len(self._users.items))
        spent = []
        for _ in range(1 + RUNS[size]):
            start = thread_time()
            if index is None:
                self._run_whole(inputs)
            else:
                index.nearest(self._run_cut(inputs)[0], self._no_bias, self._top_k)
            spent.append(1000 * (thread_time() - start))
        # The first run allocates.
        return round(median(spent[1:]), 4)

    def _compared(self, start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        inputs = self._inputs(np.arange(start, min(start + BATCH, len(self._users.items))))
        states, ours = self._run_cut(inputs)
        nearest, theirs = self._run_whole(inputs)
        # Not "more than": a difference that is no number is neither more nor less.
        if not (difference := float(np.abs(ours - theirs).max())) <= MAX_DIFFERENCE:
            raise StateGraphError(
                f"scores of the graph without the product differ by {difference:.2g} (at most "
                f"{MAX_DIFFERENCE:g}); check the versions of onnx and onnxruntime against "
                "constraints.txt, or train with `--index never`"
            )
        return states, nearest

    def _run_whole(self, inputs: _Inputs) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        nearest, scores = self._whole.run(
            ["top_items", "candidate_scores"], inputs | {"item_bias": self._no_bias}
        )
        return nearest, scores

    def _run_cut(self, inputs: _Inputs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        states, scores = self._cut.run(list(STATE_OUTPUTS), inputs | {ITEM_VECTORS: self._vectors})
        return states, scores

    def _inputs(self, numbers: NDArray[np.int64]) -> _Inputs:
        """Some users, each with all of his items as candidates."""
        read = {name: values[numbers] for name, values in self._users._asdict().items()}
        return {**read, "candidates": read["items"]}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
