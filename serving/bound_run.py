"""A run of one shape, with its inputs and outputs in memory that is there already."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from model.features import PADDING

GRAPH_ID = "gpu_graph_id"
NOT_CAPTURED = -1


class HostTensor:
    """Memory that ONNX Runtime works in directly: what is written there is there."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self.array = array
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(array)

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


Tensor: TypeAlias = HostTensor | DeviceTensor


class BoundRun:
    """Runs of one shape.

    Args:
        session: what runs.
        inputs: by name, but for those that ``bind`` binds.
        outputs: by name.
        graph_id: of the CUDA graph that is recorded of it, from 1 on, or ``NOT_CAPTURED``; None
            where the session records none.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: dict[str, Tensor],
        outputs: dict[str, Tensor],
        graph_id: int | None = None,
    ) -> None:
        self._session = session
        self._arrays = [(name, each.array) for name, each in inputs.items()]
        self._apart = [each for each in inputs.values() if isinstance(each, DeviceTensor)]
        self._outputs = list(outputs.values())
        self._bound: dict[str, onnxruntime.OrtValue] = {}
        self._binding = session.io_binding()
        for name, each in inputs.items():
            self._binding.bind_ortvalue_input(name, each.value)
        for name, each in outputs.items():
            self._binding.bind_ortvalue_output(name, each.value)
        self._options: onnxruntime.RunOptions | None = None
        if graph_id is not None:
            self._options = onnxruntime.RunOptions()
            self._options.add_run_config_entry(GRAPH_ID, str(graph_id))

    def bind(self, name: str, value: onnxruntime.OrtValue) -> None:
        """Have an input read from elsewhere, until another value comes."""
        if self._bound.get(name) is not value:
            self._binding.bind_ortvalue_input(name, value)
            self._bound[name] = value

    def run(
        self, inputs: Mapping[str, NDArray[np.generic]], users: int
    ) -> list[NDArray[np.generic]]:
        """One run.

        Args:
            inputs: by name, of so many users. What is longer than its memory is a window, of which
                the newest events are read; what is smaller is padded.

        Returns:
            Copies of the outputs, of so many users.

        Raises:
            Exception: whatever ONNX Runtime raises; its types are not public.
        """
        for name, memory in self._arrays:
            values = inputs[name]
            if values.shape == memory.shape:
                memory[...] = values
            else:
                _fill(memory, values)
        for each in self._apart:
            each.upload()
        self._session.run_with_iobinding(self._binding, self._options)
        return [each.download(users) for each in self._outputs]


def _fill(memory: NDArray[np.generic], values: NDArray[np.generic]) -> None:
    length = memory.shape[1]
    if values.shape[1] > length:
        values = values[:, -length:]
    if values.shape != memory.shape:
        # What pads must not be what an earlier run has left.
        memory.fill(PADDING)
    memory[tuple(map(slice, values.shape))] = values
