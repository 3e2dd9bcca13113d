"""A histogram that takes a whole micro-batch at once.

``prometheus_client.Histogram.observe`` costs more than a microsecond a value, which is one for each
list of a hundred; here a micro-batch costs a few, whatever its size.
"""

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class BatchHistogram(Collector):
    """Without labels; may be read in any thread.

    Args:
        name: of the metric.
        documentation: of the metric.
        buckets: upper bounds, inclusive, ascending; what is above the last counts too.
        registry: where it is told.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = np.asarray(buckets, np.float64)
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, values: NDArray[np.floating]) -> None:
        """Count values of any number."""
        found = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts))
        with self._lock:
            self._counts += found
            self._sum += float(values.sum())

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it: each bucket holds those below it too."""
        with self._lock:
            totals, total = np.cumsum(self._counts).tolist(), self._sum
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        buckets = list(zip(bounds, totals, strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, sum_value=total)

    def describe(self) -> Iterable[Metric]:
        """Its name, for the registry."""
        return [HistogramMetricFamily(self._name, self._documentation)]
