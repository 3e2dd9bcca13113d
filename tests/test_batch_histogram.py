"""A histogram of micro-batches counts as Prometheus' own does."""

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from serving.batch_histogram import BatchHistogram

BOUNDS = (0.5, 1.0, 2.0)
VALUES = (0.1, 0.5, 0.75, 1.0, 1.5, 2.0, 8.0)


def test_it_tells_what_prometheus_own_histogram_tells() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batches = BatchHistogram("seconds", "Some.", BOUNDS, ours)
    single = Histogram("seconds", "Some.", buckets=BOUNDS, registry=theirs)
    batches.observe(np.array(VALUES[:3]))
    batches.observe(np.array(VALUES[3:]))
    for value in VALUES:
        single.observe(value)
    created = "seconds_created"
    said = [
        [line for line in generate_latest(each).decode().splitlines() if created not in line]
        for each in (ours, theirs)
    ]
    assert said[0] == said[1]


def test_a_micro_batch_without_lists_counts_nothing() -> None:
    registry = CollectorRegistry()
    BatchHistogram("seconds", "Some.", BOUNDS, registry).observe(np.empty(0))
    assert registry.get_sample_value("seconds_count") == 0
