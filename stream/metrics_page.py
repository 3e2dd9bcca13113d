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


def metrics_page() -> str:
    """What it says, without the page's heading."""
    return (
        "A worker serves them at `/metrics` on `NEXTCLICK_METRICS_PORT` (docs/liveness.md), the "
        "HTTP API on its own port. A histogram is `_bucket`, `_sum` and `_count`. "
        "deploy/prometheus has alerts on some, docs/runbook.md says what to do.\n\n"
        "Some that two of them make together: the share of unknown items is "
        "`nextclick_unknown_items_total / nextclick_named_items_total`, that of what the network "
        "has not learned `nextclick_unlearned_items_total / nextclick_named_items_total` (a share "
        "that grows wants a new bundle); of profiles in hand "
        '`nextclick_merges_total{profile="held"}` of all; each by `rate(...[5m])`.\n\n'
        f"{_table()}"
    )


def _table() -> str:
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
