"""What a shop decides about its lists: its rules, and how much they vary (docs/rules.md)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.diversity import Diversity, Traits
from model.features import DAY_MS
from model.interests import NONE
from model.key_places import Keys, places_of
from model.list_composition import FREE, Cap, Ranked, Variety, compose
from model.pool_table import Chosen, JoinedPools, relevance
from model.signals import Pool
from serving import metrics
from serving.catalog import Catalog
from serving.item_columns import ItemColumns, Told
from serving.item_groups import Codes
from serving.list_request import RequestTable
from serving.placements import PINNED, SPONSORED, Placements, reserve
from serving.rule_hits import RuleBits, RuleHits
from serving.rules import (
    NO_RULES,
    AtMost,
    Boost,
    Bury,
    Hide,
    NotAgain,
    Pin,
    Rebuy,
    Rule,
    Rules,
    Sponsored,
)
from serving.selection import Selection

GREATEST = np.finfo(np.float32).max
"""A score that a rule changes stays a number."""


@dataclass(frozen=True)
class Composed:
    """The lists, and what rules did to them."""

    chosen: Chosen
    scores: NDArray[np.float32]
    """Of all N candidates, as rules have changed them; 0 of what only a rule brought."""
    placed: NDArray[np.int64] | None = None
    """int64 [N], see ``serving.placements``; None where no rule puts any item anywhere."""


class Policy:
    """Rules in force and diversity, over one catalogue.

    Args:
        catalog: whose items are recommended.
        rules: may be replaced later, see ``use``.
        diversity: None where lists need not vary.
    """

    def __init__(
        self, catalog: Catalog, rules: Rules = NO_RULES, diversity: Diversity | None = None
    ) -> None:
        self._catalog = catalog
        self._columns = ItemColumns(catalog)
        self._diversity = diversity
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Let these rules hold from now on, instead of those before."""
        catalog, columns = self._catalog, self._columns
        # What is hidden from all lists, always, is hidden from the sources already.
        self._hidden = [Selection(each, catalog, columns) for each in rules if _is_always(each)]
        self._rules: list[Rule] = [each for each in rules if not _is_always(each)]
        self._bits = RuleBits(self._rules, catalog, columns)
        placing = self._numbers(Pin) + self._numbers(Sponsored)
        self._placements = Placements(self._bits, placing, catalog, columns)
        self._groups = {number: self._grouping(number) for number in self._numbers(AtMost)}
        columns.changed.clear()
        self._hide(np.arange(len(catalog.items)))

    def catch_up(self) -> None:
        """Take in what has changed in the catalogue; nothing has, mostly."""
        changed = self._columns.changed
        if changed:
            rows = np.unique(np.array(changed, np.int64))
            changed.clear()
            self._bits.renew(rows)
            self._placements.renew()
            self._hide(rows)

    @property
    def has_say(self) -> bool:
        """Whether lists are made otherwise than without it; what is hidden always is no matter."""
        return bool(self._rules) or self._diversity is not None

    def with_offered(self, joined: JoinedPools, requests: RequestTable) -> JoinedPools:
        """The candidates, and behind them what rules bring into the lists."""
        return self._placements.with_offered(joined, requests) if self._placements else joined

    def compose(
        self,
        requests: RequestTable,
        joined: JoinedPools,
        offered: int,
        scores: NDArray[np.float32],
        allowed: NDArray[np.bool_],
        *,
        length: int,
        reserved: NDArray[np.int64] | None = None,
    ) -> Composed:
        """The lists of L requests.

        What may not be recommended is in none; then nothing that a rule hides or that was bought
        lately; then hold the caps, for what is pinned and sponsored as well; then come the pinned
        items, then the sponsored ones, and then the others by their scores.

        Args:
            requests: who and why.
            joined: N candidates.
            offered: how many of them, at the end, only a rule has brought.
            scores: of the candidates, float32 [N].
            allowed: bool [N], which may be recommended to their users at all.
            length: of a list, at most.
            reserved: places among the candidates, fewer than ``length`` of a list, of those that
                are to stand at its end whatever their scores are; what rules place comes first.
        """
        pool, owner = joined.pool, joined.owner
        hits = RuleHits(self._bits, requests, owner, pool.rows)
        scores = self._moved(scores, hits)
        allowed = allowed & ~self._barred(requests, joined, hits)
        caps = self._caps(pool.rows, hits)
        ranking = np.where(allowed, scores, np.float32(-np.inf))
        ranking[len(ranking) - offered :] = -np.inf
        fixed = np.full((len(requests), length), FREE, np.int64)
        placed = None
        if self._placements:
            placed = self._placements.fix(fixed, hits, pool.rows, owner, ranking, allowed, caps)
            for kind, name in ((PINNED, "pinned"), (SPONSORED, "sponsored")):
                if count := int((placed == kind).sum()):
                    metrics.PLACED.labels(name).inc(count)
        if reserved is not None and len(reserved):
            reserve(fixed, reserved[allowed[reserved]], owner, ranking, caps)
        ranked = Ranked(owner, relevance(pool), ranking, pool.rows)
        scores[len(scores) - offered :] = 0
        return Composed(compose(ranked, fixed, caps, self._variety(pool)), scores, placed)

    def _numbers(self, kind: type[Rule]) -> list[int]:
        return [number for number, rule in enumerate(self._rules) if isinstance(rule, kind)]

    def _hide(self, rows: NDArray[np.int64]) -> None:
        hidden = np.zeros(len(rows), np.bool_)
        for selection in self._hidden:
            hidden |= selection.of(rows)
        self._catalog.bar(rows, hidden)

    def _moved(self, scores: NDArray[np.float32], hits: RuleHits) -> NDArray[np.float32]:
        """The scores as boosts and buryings leave them, one after the other."""
        moved = scores.astype(np.float64)
        for number, rule in enumerate(self._rules):
            if isinstance(rule, Boost | Bury):
                here = hits.places(number)
                by = rule.add if isinstance(rule, Boost) else -rule.subtract
                before = moved[here]
                moved[here] = before + (rule.factor - 1) * np.abs(before) + by
        return np.clip(moved, -GREATEST, GREATEST).astype(np.float32)

    def _barred(
        self, requests: RequestTable, joined: JoinedPools, hits: RuleHits
    ) -> NDArray[np.bool_]:
        """Which candidates rules keep out of their lists, bool [N]."""
        barred = np.zeros(len(joined.owner), np.bool_)
        for number in self._numbers(NotAgain):
            rule = self._rules[number]
            assert isinstance(rule, NotAgain)
            here = hits.places(number)
            barred[here] |= self._bought(requests, joined, rule.days)[here]
        for number in self._numbers(Rebuy):
            barred[hits.places(number)] = False
        for number in self._numbers(Hide):
            barred[hits.places(number)] = True
        return barred

    def _bought(self, requests: RequestTable, joined: JoinedPools, days: int) -> NDArray[np.bool_]:
        """Which candidates their users have bought in the last days, bool [N].

        A profile knows the day of a purchase and not the hour: all of that day counts.
        """
        bought = requests.purchases
        ages = requests.times[bought.owner] // DAY_MS - bought.days
        rows = self._catalog.rows_of_hashes(bought.items)
        lately = (ages <= days) & (rows >= 0)
        had = Keys(bought.owner[lately], rows[lately])
        return places_of(Keys(joined.owner, joined.pool.rows), had, len(requests)) >= 0

    def _grouping(self, number: int) -> Told[tuple[str, ...]] | None:
        """What group a category is of, for a rule that goes by some steps of it."""
        rule = self._rules[number]
        assert isinstance(rule, AtMost)
        level = rule.level
        if rule.per == "brand" or level is None:
            return None
        groups: Codes[tuple[str, ...]] = Codes()
        return Told(self._catalog.categories.codes, lambda path: groups.of(path[:level]), np.int32)

    def _caps(self, rows: NDArray[np.int64], hits: RuleHits) -> list[Cap]:
        return [
            Cap(self._capped(number, rows, hits), rule.count)
            for number, rule in enumerate(self._rules)
            if isinstance(rule, AtMost)
        ]

    def _capped(self, number: int, rows: NDArray[np.int64], hits: RuleHits) -> NDArray[np.int64]:
        """The group of each candidate under a rule, int64 [N]; -1 for none."""
        rule, told = self._rules[number], self._groups[number]
        assert isinstance(rule, AtMost)
        is_brand = rule.per == "brand"
        codes = self._columns.brand[rows] if is_brand else self._catalog.categories.of(rows)
        codes = codes if told is None else told(codes)
        groups = np.where(codes == NONE, -1, codes).astype(np.int64)
        if rule.is_given or rule.when is not None:
            is_meant = np.zeros(len(rows), np.bool_)
            is_meant[hits.places(number)] = True
            groups[~is_meant] = -1
        return groups

    def _variety(self, pool: Pool) -> Variety | None:
        if self._diversity is None:
            return None
        columns, rows = self._columns, pool.rows
        traits = Traits(
            self._catalog.model_rows[rows], self._catalog.categories.of(rows), columns.brand[rows],
            pool.popular,
        )  # fmt: skip
        return Variety(self._diversity, traits)


def _is_always(rule: Rule) -> bool:
    """Whether a rule hides the same items from all lists."""
    return isinstance(rule, Hide) and rule.when is None and rule.age_days is None
