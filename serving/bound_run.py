"""A run of one shape, with its inputs and outputs in memory that is there already."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from model.features import PADDING

GRAPH_ID = "gpu_graph_id"
NOT_CAPTURED = "-1"


class Tensor(Protocol):
    """Memory of one input or output."""

    value: onnxruntime.OrtValue
    array: NDArray[np.generic]
    """What is written to, or read from, by this process."""

    def upload(self) -> None:
        """Give the array to the device."""

    def download(self, users: int) -> NDArray[np.generic]:
        """A copy of what the device holds of the first users."""


class HostTensor:
    """Memory that ONNX Runtime works in directly."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self.array = array
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(array)

    def upload(self) -> None:
        """It is there."""

    def download(self, users: int) -> NDArray[np.generic]:
        """A copy: the next run writes here again."""
        return self.array[:users].copy()


class DeviceTensor:
    """Memory of a device at a fixed address, and an array of the same shape before it."""

    def __init__(self, shape: Sequence[int], kind: DTypeLike, device: str) -> None:
        self.array: NDArray[np.generic] = np.zeros(shape, kind)
        self.value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, device)
        self.upload()

    def upload(self) -> None:
        """One copy to the device."""
        self.value.update_inplace(self.array)

    def download(self, users: int) -> NDArray[np.generic]:
        """One copy back; of a device that is the host's own memory, it is no view of it."""
        found: NDArray[np.generic] = self.value.numpy()[:users].copy()
        return found


class BoundRun:
    """Runs of one shape.

    Args:
        session: what runs.
        inputs: by name, but for those that ``bind`` binds.
        outputs: by name.
        graph_id: of the CUDA graph that is recorded of it, from 1 on; None records none.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: dict[str, Tensor],
        outputs: dict[str, Tensor],
        graph_id: int | None = None,
    ) -> None:
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._bound: dict[str, onnxruntime.OrtValue] = {}
        self._binding = session.io_binding()
        for name, each in inputs.items():
            self._binding.bind_ortvalue_input(name, each.value)
        for name, each in outputs.items():
            self._binding.bind_ortvalue_output(name, each.value)
        self._options = onnxruntime.RunOptions()
        # A session that records would otherwise take all shapes for one.
        self._options.add_run_config_entry(
            GRAPH_ID, NOT_CAPTURED if graph_id is None else str(graph_id)
        )

    def bind(self, name: str, value: onnxruntime.OrtValue) -> None:
        """Have an input read from elsewhere, until another value comes."""
        if self._bound.get(name) is not value:
            self._binding.bind_ortvalue_input(name, value)
            self._bound[name] = value

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """One run.

        Args:
            inputs: by name, each no larger than its memory; the rest is padded.

        Returns:
            Copies of the outputs, of as many users as there are inputs of.

        Raises:
            Exception: whatever ONNX Runtime raises; its types are not public.
        """
        users = 0
        for name, each in self._inputs.items():
            values = inputs[name]
            users = len(values)
            if values.shape != each.array.shape:
                # Nor is what pads what an earlier run has left.
                each.array.fill(PADDING)
            each.array[tuple(slice(size) for size in values.shape)] = values
            each.upload()
        self._session.run_with_iobinding(self._binding, self._options)
        return [each.download(users) for each in self._outputs.values()]
