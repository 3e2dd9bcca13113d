"""The exported graph, run in few shapes with memory that is kept: see ``serving.buckets``."""

import math
import threading
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from model.features import QUERY_TOKENS, needed_lengths
from serving.bound_run import NOT_CAPTURED, BoundRun, DeviceTensor, HostTensor, Tensor
from serving.buckets import Bucket, Buckets
from serving.execution import Execution, open_session

SCORES = "candidate_scores"
OUTPUTS = ["top_items", "top_scores", SCORES]
BIAS, CANDIDATES, QUERIES, WHO = "item_bias", "candidates", "queries", "who"
TYPES: dict[str, DTypeLike] = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
DIMENSIONS = {"B": "users", "L": "length", "C": "width", "W": "words"}
"""Names in the graph, of fields of a ``Bucket``."""
MOST_KEPT = 512
"""Shapes whose bindings are kept: micro-batches of every size in two windows."""


class RankingSession:
    """A session of ONNX Runtime, made here and run here, and nowhere else.

    Args:
        graph: the file.
        execution: how to run it.
        length: L of the network.
        held: inputs that are the same for all runs, by name.
        device: where inputs and outputs are; the provider's, but for a test that wants the ways of
            a device on a CPU.

    Raises:
        serving.execution.ProviderError: the provider is not in use.
    """

    def __init__(
        self,
        graph: Path,
        execution: Execution,
        length: int,
        *,
        held: Mapping[str, NDArray[np.float32]] | None = None,
        device: str | None = None,
    ) -> None:
        self._session = open_session(graph, execution)
        self._device = device or (None if execution.provider == "cpu" else execution.provider)
        self._inputs = {each.name: each for each in self._session.get_inputs()}
        self._outputs = {each.name: each for each in self._session.get_outputs()}
        self._held = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value)
            for name, value in (held or {}).items()
        }
        self._windows = [
            name for name in self._inputs if name not in (BIAS, CANDIDATES, *self._held)
        ]
        self.reads_queries = QUERIES in self._inputs
        self.reads_who = WHO in self._inputs
        self.buckets = Buckets(
            length,
            execution.most_users,
            in_steps=self._device is not None,
            # A graph that was exported with a fixed length has a number there.
            short_windows=execution.short_windows and self._inputs["items"].shape[1] == "L",
            words=QUERY_TOKENS if self.reads_queries else 1,
        )
        self._bucket_of = lru_cache(2 * MOST_KEPT)(self.buckets.of)
        self._runs: dict[Bucket, BoundRun] = {}
        self._captured = frozenset(self.buckets.warmed() if execution.is_captured else ())
        self._graph_ids = count(1)
        self._memory: dict[str, NDArray[np.generic]] = {}
        self._bias: onnxruntime.OrtValue | None = None
        self._bias_of: tuple[NDArray[np.float32], int | None] | None = None
        # Runs of one shape have their memory in common, and on a CPU those of all shapes.
        self._turn = threading.Lock()

    def run(self, inputs: Mapping[str, Any], bias_edition: int | None = None) -> list[Any]:
        """The outputs of the graph in its own order, ``OUTPUTS`` or states and scores, of B users.

        Args:
            inputs: the graph's, by name; windows of the whole length.
            bias_edition: another number whenever what ``item_bias`` holds has changed; None has it
                read anew.

        Raises:
            Exception: whatever ONNX Runtime raises; its types are not public.
        """
        items = inputs["items"]
        parts = self.buckets.apart(needed_lengths(items, reads_queries=self.reads_queries))
        with self._turn:
            bias = self._bias_value(inputs[BIAS], bias_edition) if BIAS in self._inputs else None
            if len(parts) == 1:
                return self._run(inputs, bias, parts[0][0])
            found: list[Any] = []
            for length, users in parts:
                some = {name: inputs[name][users] for name in (*self._windows, CANDIDATES)}
                outputs = self._run(some, bias, length)
                if not found:
                    found = [
                        np.empty((len(items), *each.shape[1:]), each.dtype) for each in outputs
                    ]
                for whole, part in zip(found, outputs, strict=True):
                    whole[users] = part
            return found

    def warm(self, bucket: Bucket) -> None:
        """A run of this shape: it allocates, and on CUDA it is recorded."""
        inputs: dict[str, Any] = {
            name: np.zeros(_shape(each, bucket), TYPES[each.type])
            for name, each in self._inputs.items()
            if name not in self._held
        }
        with self._turn:
            bias = self._bias_value(inputs.pop(BIAS), None) if BIAS in inputs else None
            self._run(inputs, bias, bucket.length)

    def _run(
        self, inputs: Mapping[str, Any], bias: onnxruntime.OrtValue | None, length: int
    ) -> list[Any]:
        users, width = inputs[CANDIDATES].shape
        words = inputs[QUERIES].shape[2] if self.reads_queries else 1
        bucket = self._bucket_of(users, length, width, words)
        run = self._runs.get(bucket) or self._bound_run(bucket)
        if bias is not None:
            run.bind(BIAS, bias)
        found = dict(zip(self._outputs, run.run(inputs, users), strict=True))
        found[SCORES] = found[SCORES][:, :width]
        return list(found.values())

    def _bound_run(self, bucket: Bucket) -> BoundRun:
        """Of a shape that is new, in the place of the oldest one that nothing was recorded of."""
        while len(self._runs) >= MOST_KEPT:
            # What CUDA has recorded reads its own memory for ever.
            oldest = next((each for each in self._runs if each not in self._captured), None)
            if oldest is None:
                break
            del self._runs[oldest]
        inputs, outputs = (
            {
                name: self._tensor(name, _shape(each, bucket), TYPES[each.type])
                for name, each in of.items()
                if name != BIAS and name not in self._held
            }
            for of in (self._inputs, self._outputs)
        )
        graph_id = None
        if self._captured:
            # A session that records takes all shapes of one number for the same.
            graph_id = next(self._graph_ids) if bucket in self._captured else NOT_CAPTURED
        run = self._runs[bucket] = BoundRun(self._session, inputs, outputs, graph_id)
        for name, value in self._held.items():
            run.bind(name, value)
        return run

    def _tensor(self, name: str, shape: tuple[int, ...], kind: DTypeLike) -> Tensor:
        if self._device is not None:
            return DeviceTensor(shape, kind, self._device)
        size = math.prod(shape)
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.zeros(size, kind)
        return HostTensor(self._memory[name][:size].reshape(shape))

    def _bias_value(self, bias: NDArray[np.float32], edition: int | None) -> onnxruntime.OrtValue:
        """On a CPU the array itself; on a device a copy, made when there is something new in it."""
        known, known_edition = self._bias_of or (None, None)
        if self._device is None:
            if bias is not known:
                self._bias = onnxruntime.OrtValue.ortvalue_from_numpy(bias)
        elif bias is not known or edition is None or edition != known_edition:
            if self._bias is None:
                self._bias = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    self._inputs[BIAS].shape, np.float32, self._device
                )
            self._bias_of = None
            self._bias.update_inplace(bias)
        self._bias_of = bias, edition
        return self._bias


def _shape(tensor: onnxruntime.NodeArg, bucket: Bucket) -> tuple[int, ...]:
    """The shape of an input or output in a bucket."""
    return tuple(
        getattr(bucket, DIMENSIONS[size]) if isinstance(size, str) else size
        for size in tensor.shape
    )
