"""What a worker works with, built once and handed to every function that needs it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from model.bundle import Bundle
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.counts import Counts
from serving.item_vectors import ItemVectors
from serving.ranker import Ranker
from serving.store import Store


def wall_clock_ms() -> int:
    """The present, epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Parts:
    """The parts of the path, and the few numbers that steer it."""

    bundle: Bundle
    catalog: Catalog
    store: Store
    counts: Counts
    candidates: CandidateSources
    ranker: Ranker
    list_length: int
    max_event_age_ms: int
    """An older event updates its profile and publishes no list."""
    publish_replayed: bool
    """Publish lists for replayed and old events too."""
    now_ms: Callable[[], int] = wall_clock_ms
    item_vectors: ItemVectors | None = None
    """Of items that the network has not learned; None of a bundle without an item tower."""
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a micro-batch is learnt: one at a time."""
