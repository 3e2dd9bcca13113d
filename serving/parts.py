"""What a worker works with, built once and handed to every function that needs it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

from model.bundle import Bundle
from serving.candidates import CandidateSources
from serving.candidates import wall_clock_ms as wall_clock_ms
from serving.catalog import Catalog
from serving.counts import Counts
from serving.intake import NO_MAPPINGS, Mappings
from serving.new_item_vectors import NewItemVectors
from serving.policy import Policy
from serving.ranker import Ranker
from serving.reasons import TELLING, Telling
from serving.store import Store


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
    policy: Policy | None = None
    """What the shop declares about its lists, if it does."""
    telling: Telling = TELLING
    """What lists tell of themselves."""
    now_ms: Callable[[], int] = wall_clock_ms
    mappings: Mappings = field(default_factory=lambda: NO_MAPPINGS)
    """Of topics whose records are not events of the contract."""
    new_item_vectors: NewItemVectors | None = None
    """Of items that the network has not learned; None of a bundle without an item tower."""
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a micro-batch is learnt: one at a time."""

    def of_generation(self, generation: int) -> Self:
        """The same parts on another generation of profiles and counts."""
        store = self.store.of_generation(generation)
        counts = self.counts.within(store)
        candidates = self.candidates.within(counts)
        return replace(self, store=store, counts=counts, candidates=candidates)

    def for_past(self, generation: int) -> Self:
        """To learn what lies behind into a generation: nothing is joined to lists.

        What came of lists was counted when it came, and that holds in every generation.
        """
        store = self.store.of_generation(generation, attribution_ms=0)
        return replace(self, store=store, counts=self.counts.within(store))
