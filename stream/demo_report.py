"""The table at the end of the demonstration: what went in, what came out, how fast, how good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from model.baselines import FrequentThenPopular, MostPopular
from model.bundle import Manifest
from model.dataset import Baskets, EventLog, next_baskets
from model.events import Event
from model.top_metrics import rank_metrics
from serving.recommendation import Recommendation
from stream.demo_lists import last_lists_before, latencies
from stream.demo_log import REPLAY_FROM


@dataclass(frozen=True)
class DemoFigures:
    """What was measured during the replay."""

    events_per_s: float
    paced_per_s: float
    lists: list[tuple[float, Recommendation]]
    sent: dict[str, float]
    paced: set[str]
    """Events of the part that was sent at a third of the speed."""


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
    console.print(
        f"Latency is from producer to consumer, at {figures.paced_per_s:,.0f} events/s. Events of "
        "one user that arrive together share a list; each search has its own."
    )
    table, note = _quality_table(log, events, figures, manifest)
    console.print(table)
    console.print(note)


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


def _quality_table(
    log: EventLog, events: Sequence[Event], figures: DemoFigures, manifest: Manifest
) -> tuple[Table, str]:
    """What the published lists were worth, beside baselines on the same baskets; and a note."""
    baskets = next_baskets(log, REPLAY_FROM, 2**62)
    served = last_lists_before(
        (each for _, each in figures.lists),
        [(_user(baskets, number), baskets.time(number)) for number in range(len(baskets))],
    )
    hinted = _hinted(baskets, events)
    judged = np.array(
        [number for number, found in enumerate(served) if found and not hinted[number]]
    )
    chosen = baskets.take(judged)
    targets = chosen.target_sets()
    position = {item_id: at for at, item_id in enumerate(log.item_ids)}
    published = [
        [position.get(item_id, -1) for item_id in served[number] or ()] for number in judged
    ]
    contenders: dict[str, Sequence[Sequence[int] | NDArray[np.int64]]] = {
        f"published by nextclick (bundle {manifest.version})": published,
        "own most frequent, full history": FrequentThenPopular(log, None).rank(chosen),
        "own most frequent, what a profile keeps": FrequentThenPopular(log).rank(chosen),
        "most popular of the last 28 days": MostPopular(log).rank(chosen),
    }
    table = Table(
        title=f"the next basket, {len(chosen):,} baskets, all {len(log.item_ids):,} items ranked",
    )
    table.add_column("list of ten")
    table.add_column("Hit@10", justify="right")
    table.add_column("NDCG@10", justify="right")
    for name, ranked in contenders.items():
        found = rank_metrics(ranked, targets)
        table.add_row(name, f"{found.hit:.4f}", f"{found.ndcg:.4f}")
    return table, (
        "The list is the last one published before the basket. Left out: "
        f"{sum(not found for found in served):,} baskets of households that had no list yet, "
        f"{int(hinted.sum()):,} with a generated click or search since the basket before, which "
        "knew what was bought next."
    )


def _user(baskets: Baskets, number: int) -> str:
    return str(baskets.log.user_ids[baskets.log.users[baskets.history_ends[number]]])


def _hinted(baskets: Baskets, events: Sequence[Event]) -> NDArray[np.bool_]:
    """bool [baskets]: whether a generated event came between the basket before and this one."""
    hints: dict[str, list[int]] = {}
    for event in events:
        if event.generated:
            hints.setdefault(event.user_id, []).append(event.time)
    found = np.zeros(len(baskets), dtype=np.bool_)
    for number in range(len(baskets)):
        own = np.array(hints.get(_user(baskets, number), ()), dtype=np.int64)
        before, now = baskets.as_of(number), baskets.time(number)
        found[number] = bool(((own > before) & (own < now)).any())
    return found
