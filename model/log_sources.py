"""The sources of a worker, asked for the baskets of a log.

Each proposes what it would propose to a worker that has the profile of just before a basket and the
counts of the midnight before it. Sources that need a query, a country or a list's feedback are not
asked: ``search``, ``chosen``, ``in_country`` and ``new``. A worker keeps the counts of 20,000 items
of each of its shards; here all count.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.baselines import CoVisits, DecayedPopularity
from model.dataset import EventLog
from model.features import DAY_MS, Histories, Interactions, Purchases, PurchaseTable
from model.fresh_log import FreshOfLog
from model.fresh_score import FreshWeights, fresh_scores
from model.interests import Interests, in_turn, interests
from model.log_catalogue import LogCatalogue
from model.pool_table import Entries, PoolTable, entries_of_lists, only_usable, unite_lists
from model.proposals import NO_ENTRIES, best_rows, first_of_lists, joined
from model.quotas import SourceQuotas
from model.signals import Origin, Weighted, own_repeat, seeds_of

BY_CATALOGUE = ("in_category", "fresh")
"""Sources that need a catalogue."""
ALTERNATIVE = ("popular", *BY_CATALOGUE)
"""Sources whose quotas may differ among alternatives: they only propose."""
UNASKED = ("in_country", "new")
"""Sources without a query that no log can be asked for: where something happens, and what came of
lists."""
MOST_ALTERNATIVES = 8


@dataclass(frozen=True)
class SourcePlan:
    """Which sources are asked, and for how much.

    Raises:
        ValueError: a source needs a catalogue, or the alternatives are too many or differ in a
            source that speaks for its items.
    """

    quotas: tuple[SourceQuotas, ...] = (SourceQuotas(),)
    """Alternatives: candidates are those under any of them, and know under which."""
    catalogue: LogCatalogue | None = None
    fresh: FreshWeights = field(default_factory=FreshWeights)
    """How new items are ordered."""

    def __post_init__(self) -> None:
        if self.catalogue is None and any(
            getattr(each, name) for each in self.quotas for name in BY_CATALOGUE
        ):
            raise ValueError(f"the sources {' and '.join(BY_CATALOGUE)} need a catalogue")
        fixed = {
            tuple(getattr(each, name) for name in each.__struct_fields__ if name not in ALTERNATIVE)
            for each in self.quotas
        }
        if len(fixed) != 1 or len(self.quotas) > MOST_ALTERNATIVES:
            raise ValueError(
                f"at most {MOST_ALTERNATIVES} alternatives, which differ in {ALTERNATIVE} alone"
            )


def plan_of(
    quotas: SourceQuotas, catalogue: LogCatalogue | None, fresh: FreshWeights
) -> tuple[SourcePlan, list[str]]:
    """The plan of a bundle, and those of its sources that it leaves out: what a log does not tell,
    and without a catalogue what needs one."""
    out = [name for name in UNASKED if getattr(quotas, name)]
    if catalogue is None:
        missing = [name for name in BY_CATALOGUE if getattr(quotas, name)]
        quotas = msgspec.structs.replace(quotas, **dict.fromkeys(missing, 0))
        out = missing + out
    return SourcePlan((quotas,), catalogue, fresh), out


class PastProfile(NamedTuple):
    """A user as a worker knows him when a list is made."""

    history: Interactions
    purchases: Purchases
    as_of: int
    """Event time of the list's cause, epoch ms."""
    time: int
    """Of the basket, epoch ms."""


class MarkedTable(NamedTuple):
    """Candidates, and of each the quotas under which it is one: bits, uint8 [N]."""

    table: PoolTable
    quotas: NDArray[np.uint8]


class LogSources:
    """Asks every source that has a quota, and unites what they propose.

    Args:
        log: all rows; each basket is served from what came before it.
        popularity_half_life_days: of popularity and co-visits.
        repeat_half_life_days: of the repeat strength.
        start, end: epoch ms, between which the baskets are.
        plan: which sources.
        popular: of the log, with that half-life.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        popularity_half_life_days: float,
        repeat_half_life_days: float,
        start: int,
        end: int,
        plan: SourcePlan,
        popular: DecayedPopularity,
    ) -> None:
        self._log = log
        self._repeat_half_life_days = repeat_half_life_days
        self._plan = plan
        self._popular = popular
        self._covisits = CoVisits(log, popularity_half_life_days, start, end)
        catalogue = plan.catalogue
        self._fresh_of_log = FreshOfLog(catalogue, popular.counts) if catalogue else None

    def table(self, profiles: Sequence[PastProfile]) -> MarkedTable:
        """The candidates of some profiles, as positions in the log's ``item_ids``."""
        parts: dict[Origin, list[tuple[Entries, int]]] = {}
        for name, origin, ask in (
            ("repeat", Origin.REPEAT, self._repeat),
            ("together", Origin.TOGETHER, self._together),
            ("popular", Origin.POPULAR, self._popular_now),
            ("in_category", Origin.POPULAR, self._in_category),
            ("fresh", Origin.NEW, self._fresh),
        ):
            for most, marks in self._asked_for(name):
                entries = only_usable(ask(profiles, most), is_in_log)
                parts.setdefault(origin, []).append((entries, marks))
        table, places = unite_lists(
            {origin: joined([each for each, _ in some]) for origin, some in parts.items()},
            len(profiles),
            lambda items, owner: self.popularity(profiles, items, owner),
        )
        quotas = np.zeros(len(table.owner), np.uint8)
        for origin, some in parts.items():
            ends = np.cumsum([len(each.rows) for each, _ in some])
            for where, (_, marks) in zip(np.split(places[origin], ends[:-1]), some, strict=True):
                quotas[where] |= np.uint8(marks)
        return MarkedTable(table, quotas)

    def popularity(
        self,
        profiles: Sequence[PastProfile],
        items: NDArray[np.int64],
        owner: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Of items, each as of the time of the profile whose number stands in ``owner``."""
        counts = np.zeros(items.shape, np.float32)
        for number, profile in enumerate(profiles):
            here = owner == number
            counts[here] = self._popular.counts(profile.time)[items[here]]
        return counts

    def _asked_for(self, name: str) -> Iterator[tuple[int, int]]:
        """Each quota of a source above 0, and the alternatives that give it, as bits."""
        marks: dict[int, int] = {}
        for number, each in enumerate(self._plan.quotas):
            most = getattr(each, name)
            marks[most] = marks.get(most, 0) | 1 << number
        return ((most, bits) for most, bits in marks.items() if most)

    def _repeat(self, profiles: Sequence[PastProfile], most: int) -> Entries:
        bought = PurchaseTable.of([each.purchases for each in profiles])
        as_of = np.array([profile.as_of for profile in profiles])
        strength = own_repeat(bought, as_of, self._repeat_half_life_days)
        items = self._log.positions_of(bought.items)
        return first_of_lists(Entries(bought.owner, items, strength), most)

    def _together(self, profiles: Sequence[PastProfile], most: int) -> Entries:
        seeds, starts = self._seeds(profiles)
        own = np.split(seeds, starts[1:-1])
        return entries_of_lists(
            [
                Weighted(*self._covisits.of(each.tolist(), profile.time, most))
                for profile, each in zip(profiles, own, strict=True)
            ]
        )

    def _popular_now(self, profiles: Sequence[PastProfile], most: int) -> Entries:
        popular = [self._popular.top(profile.time, most) for profile in profiles]
        return entries_of_lists([Weighted(items, np.ones(len(items))) for items in popular])

    def _in_category(self, profiles: Sequence[PastProfile], most: int) -> Entries:
        catalogue = self._plan.catalogue
        assert catalogue is not None, "a plan with such a quota has a catalogue"
        seeds, starts = self._seeds(profiles)
        owner = np.repeat(np.arange(len(profiles)), np.diff(starts))
        found = interests(owner, catalogue.categories(seeds))
        parts = [NO_ENTRIES]
        for day, here in _by_day(profiles):
            popular = self._popular.top(day * DAY_MS, len(self._log.item_ids))
            now = np.isin(found.owner, here)
            rows_of = _rows_of_category(catalogue, popular)
            parts.append(in_turn(Interests(found.owner[now], found.groups[now]), rows_of, most))
        return joined(parts)

    def _fresh(self, profiles: Sequence[PastProfile], most: int) -> Entries:
        fresh, weights = self._fresh_of_log, self._plan.fresh
        assert fresh is not None, "a plan with such a quota has a catalogue"
        parts = [NO_ENTRIES]
        for day, here in _by_day(profiles):
            items = fresh.little_known(day)
            if not len(items):
                continue
            some = [profiles[number] for number in here.tolist()]
            signals = fresh.of_day(
                day, [each.history for each in some], [each.purchases for each in some],
                items, weights.smoothing,
            )  # fmt: skip
            best = best_rows(fresh_scores(weights, signals), items, most)
            parts.append(Entries(here[best.owner], best.rows, best.values))
        return joined(parts)

    def _seeds(
        self, profiles: Sequence[PastProfile]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the users' newest items, and where those of each begin."""
        seeds, starts = seeds_of(Histories.of([profile.history for profile in profiles]))
        return self._log.positions_of(seeds), starts


def is_in_log(items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which positions are some; what may be recommended by a log."""
    return items >= 0


def _rows_of_category(
    catalogue: LogCatalogue, popular: NDArray[np.int64]
) -> Callable[[int], NDArray[np.int64]]:
    return lambda category: catalogue.in_category(category, popular)


def _by_day(profiles: Sequence[PastProfile]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each day since 1970, and the numbers of the profiles that are asked on it."""
    days = np.array([profile.time // DAY_MS for profile in profiles], np.int64)
    return ((day, np.flatnonzero(days == day)) for day in np.unique(days).tolist())
