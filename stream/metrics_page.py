"""docs/metrics.md, from what is declared."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from serving import gpu_memory, metrics
from serving.batch_histogram import BatchHistogram


class Told(NamedTuple):
    """A metric as Prometheus knows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


def told() -> list[Told]:
    """Every metric of ours, by name."""
    return sorted([*_declared(), _of_gpus()])


def metrics_table() -> str:
    """The Markdown table of all metrics."""
    rows = ["| metric | kind | labels | what it tells |", "|---|---|---|---|"]
    for each in told():
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {each.about} |")
    return "\n".join(rows) + "\n"


def _declared() -> Iterator[Told]:
    for found in vars(metrics).values():
        if isinstance(found, MetricWrapperBase | BatchHistogram):
            yield _told(found, getattr(found, "_labelnames", ()))


def _of_gpus() -> Told:
    return Told(gpu_memory.NAME, "gauge", gpu_memory.LABELS, gpu_memory.ABOUT)


def _told(metric: MetricWrapperBase | BatchHistogram, labels: tuple[str, ...]) -> Told:
    (family,) = metric.describe()
    ending = "_total" if family.type == "counter" else ""
    return Told(f"{family.name}{ending}", family.type, tuple(labels), family.documentation)
