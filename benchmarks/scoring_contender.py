"""Contenders of the scoring benchmark: run batches of users and tell how long one takes.

    python -m benchmarks.scoring_contender ranker|raw BUNDLE cpu|cuda

``ranker`` is serving's, from histories to scores; ``raw`` the bare ONNX Runtime session on arrays
that are ready. Those of torch are in ``benchmarks.scoring_torch``.
"""

import argparse
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.contender import answer
from benchmarks.made_up import made_up_histories
from model.bundle import Bundle, load_bundle
from model.features import FIRST_ITEM, Interactions, featurize
from serving.execution import PROVIDERS, Execution, Provider, ProviderError
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
    """Prepares the runs of ``ranker`` and ``raw``."""

    def __init__(self, batches: Batches, provider: Provider) -> None:
        self._batches = batches
        self._provider = provider

    def ranker(self, batch: int) -> Run:
        """serving's ranker on the histories."""
        histories = self._batches.histories(batch)
        candidates = list(self._batches.candidates(batch))
        ranker, bias = self._ranker, self._batches.no_bias
        return lambda number: ranker.rank(histories[number], candidates, bias, None).top_rows

    def raw(self, batch: int) -> Run:
        """The session on the arrays."""
        inputs, session = self._batches.inputs(batch), self._session
        return lambda number: cast(NDArray[np.int64], session.run(OUTPUTS, inputs[number])[0])

    @cached_property
    def _ranker(self) -> Ranker:
        return Ranker(self._batches.bundle, Execution(self._provider, THREADS))

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        if self._provider == "cuda":
            # For its check of the device, whose sentences say what to do.
            Ranker(self._batches.bundle, Execution(self._provider, THREADS))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            self._batches.bundle.model_path, options, providers=[PROVIDERS[self._provider]]
        )


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
    parser.add_argument("kind", choices=("ranker", "raw"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("provider", choices=tuple(PROVIDERS))
    asked = parser.parse_args()
    runs = OnnxRuns(Batches(load_bundle(asked.bundle)), asked.provider)
    answer(turns(getattr(runs, asked.kind)), refusals=(ProviderError,))


if __name__ == "__main__":
    main()
