"""The table at the end of the demonstration: what went in, what came out, how fast, how good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from model.baselines import FrequentThenPopular, MostPopular
from model.bundle import Manifest
from model.dataset import EventLog, next_baskets
from model.evaluate import TopMetrics, rank_metrics
from model.events import Event, Purchase
from serving.recommendation import Recommendation
from stream.demo_lists import last_lists_before, latencies

CUT = 10


@dataclass(frozen=True)
class DemoFigures:
    """What was measured during the replay."""

    events_per_s: float
    paced_per_s: float
    lists: list[tuple[float, Recommendation]]
    sent: dict[str, float]
    paced: set[str]
    """Events of the part that was sent at half speed."""


def kind_of(event: Event) -> str:
    """A kind as the table names it; made-up events are called so."""
    name = type(event).__name__.lower()
    return f"{name} (generated)" if event.generated else name


def print_report(
    console: Console,
    log: EventLog,
    events: Sequence[Event],
    figures: DemoFigures,
    manifest: Manifest,
) -> None:
    """Print speed and quality."""
    console.print(_speed_table(events, figures))
    console.print(_quality_table(log, events, figures, manifest))


def _speed_table(events: Sequence[Event], figures: DemoFigures) -> Table:
    kinds = {event.event_id: kind_of(event) for event in events}
    paced = {name: kinds[name] for name in figures.paced}
    waits = latencies(figures.lists, figures.sent, paced)
    lists = Counter(kinds[each.event_id] for _, each in figures.lists)
    table = Table(
        title=(
            f"{len(events):,} events in, {len(figures.lists):,} lists out; "
            f"{figures.events_per_s:,.0f} events/s flat out"
        ),
        caption=(
            f"Latency from producer to consumer, at {figures.paced_per_s:,.0f} events/s. Events of "
            "one user that arrive together share a list; each search has its own."
        ),
    )
    table.add_column("kind")
    for column in ("events in", "lists out", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for kind, count in sorted(Counter(kinds.values()).items()):
        wait = waits.get(kind)
        table.add_row(
            kind,
            f"{count:,}",
            f"{lists[kind]:,}",
            f"{wait.p50:.1f}" if wait else "-",
            f"{wait.p99:.1f}" if wait else "-",
        )
    return table
