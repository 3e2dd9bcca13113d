"""Contenders of the scoring benchmark: run batches of users and tell how long one takes.

    python -m benchmarks.scoring_contender ranker|histories|captured|variant|raw BUNDLE cpu|cuda

``ranker`` is serving's and ``raw`` the bare ONNX Runtime session, both from arrays that are ready
to scores; ``histories`` is serving's with the arrays to make. ``captured`` is the ranker with CUDA
graphs, and ``variant`` on the graph of the provider's smaller numbers, fp16 or int8. Those of torch
are in ``benchmarks.scoring_torch``.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.contender import answer
from benchmarks.made_up import made_up_histories
from model.bundle import Bundle, Precision, load_bundle, write_bundle
from model.features import FIRST_ITEM, Features, Interactions, featurize
from serving.execution import PROVIDERS, Execution, Provider, ProviderError, open_session
from serving.ranker import Ranker
from serving.ranking_session import OUTPUTS

THREADS = 1
CANDIDATES = 100
DISTINCT = 4
"""Batches that take turns, so that no run finds its own arrays in the cache."""
FEWEST_RUNS = 5
COMPARED = 20

Run = Callable[[int], NDArray[np.int64]]
"""Number of the batch -> vocabulary rows of its users' best items, best first."""


class Batches:
    """The made-up users that every contender ranks."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.no_bias = np.zeros(len(bundle.vocabulary), np.float32)

    def histories(self, batch: int) -> list[list[Interactions]]:
        """``DISTINCT`` batches of so many users."""
        length = self.bundle.manifest.history_length
        return [
            made_up_histories(batch, length, self.bundle.vocabulary, seed=number)
            for number in range(DISTINCT)
        ]

    def candidates(self, batch: int) -> NDArray[np.int64]:
        """Vocabulary rows [batch, C] to score."""
        chance = np.random.default_rng(batch)
        size = len(self.bundle.vocabulary)
        return chance.integers(FIRST_ITEM, size, (batch, CANDIDATES), dtype=np.int64)

    def inputs(self, batch: int) -> list[dict[str, NDArray[Any]]]:
        """The graph's inputs, by name, of each of the batches."""
        length = self.bundle.manifest.history_length
        return [
            {
                **featurize(users, self.bundle.vocabulary, length)._asdict(),
                "item_bias": self.no_bias,
                "candidates": self.candidates(batch),
            }
            for users in self.histories(batch)
        ]


class OnnxRuns:
    """Prepares the runs of a contender."""

    def __init__(self, batches: Batches, provider: Provider) -> None:
        self._batches = batches
        self._execution = Execution(provider, THREADS)

    def ranker(self, batch: int) -> Run:
        """serving's ranker on the arrays."""
        return self._scores(batch, self._ranker)

    def histories(self, batch: int) -> Run:
        """serving's ranker on the histories."""
        histories = self._batches.histories(batch)
        candidates = self._batches.candidates(batch)
        ranker, bias = self._ranker, self._batches.no_bias
        return lambda number: ranker.rank(histories[number], candidates, bias, None, 0).top_rows

    def captured(self, batch: int) -> Run:
        """The ranker with CUDA graphs."""
        return self._scores(batch, self._capturing)

    def variant(self, batch: int) -> Run:
        """The ranker on the smaller graph."""
        return self._scores(batch, self._smaller)

    def raw(self, batch: int) -> Run:
        """The session on the arrays."""
        inputs, session = self._batches.inputs(batch), self._session
        return lambda number: cast(NDArray[np.int64], session.run(OUTPUTS, inputs[number])[0])

    def _scores(self, batch: int, ranker: Ranker) -> Run:
        inputs = self._batches.inputs(batch)
        features = [Features(*(each[name] for name in Features._fields)) for each in inputs]
        candidates, bias = inputs[0]["candidates"], self._batches.no_bias
        return lambda number: ranker.score(features[number], candidates, bias, 0).top_rows

    @cached_property
    def _ranker(self) -> Ranker:
        return Ranker(self._batches.bundle, self._execution)

    @cached_property
    def _capturing(self) -> Ranker:
        return Ranker(self._batches.bundle, replace(self._execution, cuda_graphs=True))

    @cached_property
    def _smaller(self) -> Ranker:
        from model.variants import convert  # with onnx

        bundle = self._batches.bundle
        precision: Precision = "fp16" if self._execution.provider == "cuda" else "int8"
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{precision}.onnx"
            convert(bundle.model_path, path, precision)
            write_bundle(
                Path(folder) / "bundle", bundle.model_path, bundle.vocabulary.ids, bundle.manifest,
                {precision: path},
            )  # fmt: skip
            both = load_bundle(Path(folder) / "bundle")
            return Ranker(both, replace(self._execution, precision=precision))

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self._batches.bundle.model_path, self._execution)


def turns(prepare: Callable[[int], Run]) -> Callable[..., dict[str, Any]]:
    """What answers one turn of a contender; each batch size is prepared and warmed up once."""
    runs: dict[int, Run] = {}

    def turn(batch: int, seconds: float) -> dict[str, Any]:
        if batch not in runs:
            runs[batch] = prepare(batch)
            for number in range(DISTINCT):
                runs[batch](number)
        run = runs[batch]
        took: list[float] = []
        begun, processor = time.perf_counter(), time.process_time()
        while len(took) < FEWEST_RUNS or time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            run(len(took) % DISTINCT)
            took.append(time.perf_counter() - start)
        return {
            "ms": median(took) * 1000,
            "cpu_ms": (time.process_time() - processor) / len(took) * 1000,
            "runs": len(took),
            "best": run(0)[:, :COMPARED].tolist(),
        }

    return turn


def main() -> None:
    """Answer what ``benchmarks.scoring`` asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("ranker", "histories", "captured", "variant", "raw"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("provider", choices=tuple(PROVIDERS))
    asked = parser.parse_args()
    runs = OnnxRuns(Batches(load_bundle(asked.bundle)), asked.provider)
    answer(turns(getattr(runs, asked.kind)), refusals=(ProviderError,))


if __name__ == "__main__":
    main()
