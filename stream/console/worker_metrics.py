"""What workers say of themselves, read from where they serve their metrics."""

import asyncio
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 1.0
MOST_BYTES = 4_000_000
LATENCY = "nextclick_latency_seconds_bucket"


class WorkerState(msgspec.Struct, frozen=True, gc=False):
    """A worker, as of now."""

    address: str
    state: str
    """``ready``, ``waiting`` or ``away``."""
    waiting_for: tuple[str, ...] = ()
    provider: str | None = None
    """Really in use."""
    events_per_s: float | None = None
    lists_per_s: float | None = None
    p50_ms: float | None = None
    """From a record's timestamp until the list is stored, since the last look that had any."""
    p99_ms: float | None = None
    memory_mb: float | None = None


class Reading(NamedTuple):
    """The metrics of one worker at one moment."""

    at: float
    values: Mapping[str, float]
    """By name, all labels together."""
    latency: Mapping[float, float]
    """Lists that took at most so many seconds."""
    providers: tuple[str, ...]
    waiting_for: tuple[str, ...]


class WorkerMetrics:
    """Looks at workers.

    Args:
        addresses: ``host:port`` of each.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._last: dict[str, Reading | None] = dict.fromkeys(addresses)
        self._latency: dict[str, tuple[float, float]] = {}

    async def look(self) -> tuple[WorkerState, ...]:
        """All workers, in the order of their addresses."""
        addresses = list(self._last)
        found = await asyncio.gather(*(asyncio.to_thread(_read, each) for each in addresses))
        return tuple(map(self._state, addresses, found))

    def _state(self, address: str, now: Reading | None) -> WorkerState:
        before, self._last[address] = self._last[address], now
        if now is None:
            return WorkerState(address, "away")
        if before is not None and (took := _percentiles(before.latency, now.latency)) is not None:
            self._latency[address] = took
        p50, p99 = self._latency.get(address, (None, None))
        return WorkerState(
            address,
            "ready" if now.values.get("nextclick_ready") else "waiting",
            now.waiting_for,
            now.providers[0] if now.providers else None,
            _per_s(before, now, "nextclick_events_total"),
            _per_s(before, now, "nextclick_lists_total"),
            p50,
            p99,
            now.values.get("process_resident_memory_bytes", 0) / 2**20,
        )


def _per_s(before: Reading | None, now: Reading, name: str) -> float | None:
    if before is None:
        return None
    # A worker that was started again counts from 0.
    gained = max(now.values.get(name, 0) - before.values.get(name, 0), 0)
    return gained / (now.at - before.at)


def _percentiles(
    before: Mapping[float, float], now: Mapping[float, float]
) -> tuple[float, float] | None:
    """Milliseconds below which half and 99 of 100 new lists stayed; None where there are none.

    Within a bucket lists are taken to lie evenly, as Prometheus does.
    """
    edges = sorted(now)
    counts = [now[edge] - before.get(edge, 0) for edge in edges]
    if not counts or counts[-1] <= 0:
        return None
    return _below(edges, counts, 0.5), _below(edges, counts, 0.99)


def _below(edges: list[float], counts: list[float], share: float) -> float:
    wanted, low, under = share * counts[-1], 0.0, 0.0
    for edge, count in zip(edges, counts, strict=True):
        if count >= wanted:
            high = low if edge == float("inf") else edge
            return 1000 * (low + (high - low) * (wanted - under) / max(count - under, 1e-9))
        low, under = edge, count
    return 1000 * low


def _read(address: str) -> Reading | None:
    """What a worker says; None where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read(MOST_BYTES).decode()
        return reading_of(text, time.monotonic())
    except (OSError, ValueError):
        return None


def reading_of(text: str, at: float) -> Reading:
    """Metrics in Prometheus' text format. Raises ValueError where they are none."""
    values: dict[str, float] = defaultdict(float)
    latency: dict[float, float] = {}
    providers, waiting = [], []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] += sample.value
            if sample.name == LATENCY:
                latency[float(sample.labels["le"])] = sample.value
            elif sample.name == "nextclick_provider" and sample.value:
                providers.append(sample.labels["provider"])
            elif sample.name == "nextclick_waiting" and sample.value:
                waiting.append(sample.labels["part"])
    return Reading(at, dict(values), latency, tuple(providers), tuple(waiting))
