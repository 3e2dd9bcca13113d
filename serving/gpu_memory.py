"""Memory of the machine's NVIDIA GPUs, read from their driver whenever metrics are."""

import logging
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

NAME = "nextclick_gpu_memory_bytes"
ABOUT = (
    "Memory of a GPU, `used` by all processes and `total`, as its driver tells. Absent on the CPU "
    "and without the extra `gpu`."
)
LABELS = ("gpu", "kind")


class GpuMemory(Collector):
    """Of all GPUs that the driver shows; a GPU that does not answer is left out, and not 0.

    Args:
        nvml: the module ``pynvml``, initialised.
        registry: where it is told.
    """

    def __init__(self, nvml: Any, registry: CollectorRegistry = REGISTRY) -> None:
        self._nvml = nvml
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Two numbers for each GPU."""
        family = GaugeMetricFamily(NAME, ABOUT, labels=LABELS)
        for number in range(self._count()):
            try:
                gpu = self._nvml.nvmlDeviceGetHandleByIndex(number)
                memory = self._nvml.nvmlDeviceGetMemoryInfo(gpu)
            except self._nvml.NVMLError:
                continue
            family.add_metric([str(number), "used"], memory.used)
            family.add_metric([str(number), "total"], memory.total)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Its name, for the registry."""
        return [GaugeMetricFamily(NAME, ABOUT, labels=LABELS)]

    def _count(self) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError:
            return 0


def show_gpu_memory(registry: CollectorRegistry = REGISTRY) -> GpuMemory | None:
    """Have metrics tell it from now on; None, and a line in the log, where nothing can tell it."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        logger.info("metrics tell no GPU memory; pip install 'nextclick[gpu]' has them do so")
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        logger.warning("metrics tell no GPU memory: the driver's library says %s", error)
        return None
    return GpuMemory(nvml, registry)
