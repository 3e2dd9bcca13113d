"""A fake of the module ``pynvml``: GPUs that this machine does not have."""

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple


class FakeError(Exception):
    """What ``pynvml.NVMLError`` is."""


class _Memory(NamedTuple):
    used: int
    total: int


class FakeNvml(ModuleType):
    """Args: used and total bytes of each GPU, None of one that does not answer."""

    NVMLError = FakeError

    def __init__(self, gpus: Sequence[tuple[int, int] | None], *, starts: bool = True) -> None:
        super().__init__("pynvml")
        self._gpus, self._starts = gpus, starts
        self.is_away = False

    def nvmlInit(self) -> None:
        if not self._starts:
            raise FakeError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:
        if self.is_away:
            raise FakeError("GPU is lost")
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetMemoryInfo(self, number: int) -> _Memory:
        if (found := self._gpus[number]) is None:
            raise FakeError("GPU is lost")
        return _Memory(*found)
