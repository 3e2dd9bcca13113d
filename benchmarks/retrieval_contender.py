"""Contenders of the retrieval benchmark: find the nearest items of one user after the other.

    python -m benchmarks.retrieval_contender index|exact|hnswlib|usearch FOLDER

``index`` is the bundle's, read as a worker reads it, and ``exact`` the product with all items.
``hnswlib`` and ``usearch`` are graphs, for comparison; they are made here, and refuse where their
package is not installed. All search on one thread, with Python set as in a worker.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.contender import ContenderError, answer
from benchmarks.retrieval_set import RetrievalSet, exact_nearest, read_set
from benchmarks.retrieval_stream import stream
from model.features import FIRST_ITEM
from model.index_gate import RECALL
from model.item_index import ItemIndex
from model.nearest import recall
from stream.interpreter import spare_what_is_loaded, switch_soon

NEIGHBOURS, EXPANSION = 16, 100
"""Of a graph, when it is made."""
FEWEST, MOST = 100, 3200
"""Items that a search of a graph looks at."""
NEVER = np.float32(-1e9)
WARM = 50


class Searcher(Protocol):
    """Finds items."""

    def nearest(self, states: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows [B, count] of B users."""


class Index:
    """The bundle's."""

    def __init__(self, given: RetrievalSet) -> None:
        self.index = ItemIndex.read(given.files, threads=1)
        self.item_bias = np.zeros(len(self.index.vectors), np.float32)
        self.edition = 0

    def nearest(self, states: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """As a worker finds them, the catalogue unchanged since the last search."""
        return self.index.nearest(states, self.item_bias, count, self.edition).rows


class Exact:
    """The product with all of them."""

    def __init__(self, given: RetrievalSet) -> None:
        self._vectors = np.load(given.files.vectors, mmap_mode="r")
        self._no_bias = np.zeros(len(self._vectors), np.float32)

    def nearest(self, states: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """In no order."""
        return exact_nearest(self._vectors, states, self._no_bias, count)


class Graph:
    """A graph over the vectors, their greatest product made the smallest distance."""

    def __init__(self, given: RetrievalSet, library: str) -> None:
        try:
            self._made_with = import_module(library if library == "hnswlib" else f"{library}.index")
        except ImportError:
            raise ContenderError(f"{library} is not installed: pip install {library}") from None
        vectors = np.load(given.files.vectors)[FIRST_ITEM:]
        squares = np.square(vectors).sum(axis=1, keepdims=True)
        points = np.hstack([vectors, np.sqrt(squares.max() - squares)])
        self._is_hnswlib = library == "hnswlib"
        if self._is_hnswlib:
            self._graph: Any = self._made_with.Index("l2", points.shape[1])
            self._graph.init_index(len(points), ef_construction=EXPANSION, M=NEIGHBOURS)
            self._graph.add_items(points)
        else:
            self._graph = self._made_with.Index(
                ndim=points.shape[1], metric="l2sq", dtype="f16", connectivity=NEIGHBOURS,
                expansion_add=EXPANSION,
            )  # fmt: skip
            self._graph.add(np.arange(len(points)), points)
        self.looked_at = FEWEST
        top = given.nearest.shape[1]
        while recall(self.nearest(given.states, top), given.nearest) < RECALL:
            if self.looked_at >= MOST:
                break
            self.looked_at *= 2

    def nearest(self, states: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """As the library finds them."""
        points = np.hstack([states, np.zeros((len(states), 1), np.float32)])
        if self._is_hnswlib:
            self._graph.set_ef(max(self.looked_at, count))
            keys, _ = self._graph.knn_query(points, count, num_threads=1)
            return FIRST_ITEM + np.asarray(keys, np.int64)
        self._graph.expansion_search = self.looked_at
        keys = self._graph.search(points, count, threads=1).keys
        return FIRST_ITEM + np.atleast_2d(keys).astype(np.int64)


class Turns:
    """The tasks of one contender."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._given = read_set(folder)
        self._before_mb = memory()
        self._made = _MAKERS[kind](self._given)
        self._top = self._given.nearest.shape[1]
        spare_what_is_loaded()
        switch_soon()

    def answer(self, task: str, **more: Any) -> dict[str, Any]:
        """One of the methods below."""
        found: dict[str, Any] = getattr(self, task)(**more)
        return found

    def turn(self, users: int) -> dict[str, Any]:
        """So many users, each alone."""
        states, rows, took, spent = self._given.states[:users], [], [], []
        for at in range(-min(WARM, users // 4), len(states)):
            state = states[max(at, 0)][None]
            start, processor = time.perf_counter(), time.thread_time()
            row = self._made.nearest(state, self._top)[0]
            if at >= 0:
                took.append(time.perf_counter() - start)
                spent.append(time.thread_time() - processor)
                rows.append(row)
        return {
            **percentiles("ms", took),
            **percentiles("cpu_ms", spent),
            "recall": recall(np.array(rows), self._given.nearest[:users]),
        }

    def together(self, users: int) -> dict[str, Any]:
        """Micro-batches of so many users: processor time of one user."""
        spent = []
        for start in range(0, len(self._given.states) - users + 1, users):
            processor = time.thread_time()
            self._made.nearest(self._given.states[start : start + users], self._top)
            spent.append((time.thread_time() - processor) / users)
        return percentiles("cpu_ms", spent)

    def barred(self, share: float, users: int) -> dict[str, Any]:
        """With so many of the items unavailable."""
        index, vectors = self._index, self._index.index.vectors
        bias = np.zeros(len(vectors), np.float32)
        bias[np.random.default_rng(3).random(len(bias)) < share] = NEVER
        states, rows, spent = self._given.states[:users], [], []
        for at in range(-1, len(states)):
            processor = time.thread_time()
            found = index.index.nearest(states[max(at, 0)][None], bias, self._top, 1)
            if at >= 0:
                spent.append(time.thread_time() - processor)
                rows.append(found.rows[0])
        nearest = exact_nearest(vectors, states, bias, self._top)
        return {
            **percentiles("cpu_ms", spent),
            "recall": recall(np.array(rows), nearest),
            "barred_in_lists": int((bias[np.array(rows)] < 0).sum()),
            "shortest_list": int((np.array(rows) >= FIRST_ITEM).sum(axis=1).min()),
        }

    def stream(self, seconds: float, per_second: float) -> dict[str, Any]:
        """Searches beside a stream of changes."""
        return stream(self._index.index, self._given.states, self._top, seconds, per_second)

    def memory(self) -> dict[str, Any]:
        """Megabytes, with those before the index was opened."""
        return {
            name: {"before": self._before_mb[name], "now": now} for name, now in memory().items()
        }

    @property
    def _index(self) -> Index:
        assert isinstance(self._made, Index)
        return self._made


def memory() -> dict[str, float]:
    """Megabytes of this process; what it shares with others counts in ``pss`` by its part."""
    found = psutil.Process().memory_full_info()
    return {name: round(getattr(found, name) / 2**20, 1) for name in ("rss", "pss", "uss")}


def percentiles(unit: str, seconds: list[float]) -> dict[str, float]:
    """Of searches, in milliseconds."""
    return {
        f"p{percent}_{unit}": round(1000 * float(np.percentile(seconds, percent)), 4)
        for percent in (50, 99)
    }


_MAKERS: dict[str, Callable[[RetrievalSet], Searcher]] = {
    "index": Index,
    "exact": Exact,
    "hnswlib": lambda given: Graph(given, "hnswlib"),
    "usearch": lambda given: Graph(given, "usearch"),
}


def main() -> None:
    """Answer what ``benchmarks.retrieval`` asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(_MAKERS))
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    turns: list[Turns] = []

    def handler(**task: Any) -> dict[str, Any]:
        if not turns:
            turns.append(Turns(asked.kind, asked.folder))
        return turns[0].answer(**task)

    answer(handler, refusals=(ContenderError,))


if __name__ == "__main__":
    main()
