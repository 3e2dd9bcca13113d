"""Items that a rule puts at a place of the list: pinned ones, and sponsored ones."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from model.key_places import Keys, places_of
from model.list_composition import FREE, Cap, has_room
from model.pool_table import JoinedPools
from model.signals import Pool
from serving.catalog import Catalog
from serving.item_columns import ItemColumns
from serving.list_request import RequestTable
from serving.rule_hits import RuleBits, RuleHits, lists_of
from serving.rules import Pin, Rule, Sponsored

NOT_PLACED, PINNED, SPONSORED = 0, 1, 2
RESERVE = 16
"""Items that a placement brings into each list, where it names none: some may be barred there."""


def positions_of(rule: Rule) -> tuple[int, ...]:
    """Where in a list, from 1 on, a rule puts items."""
    match rule:
        case Pin(position=position):
            return (position,)
        case Sponsored(positions=positions):
            return positions
        case _:
            return ()


class Placements:
    """The rules that put items at places.

    Args:
        bits: of all rules.
        numbers: of these among them, the first one first.
        catalog, columns: whose items they are.
    """

    def __init__(
        self, bits: RuleBits, numbers: Sequence[int], catalog: Catalog, columns: ItemColumns
    ) -> None:
        self._bits, self._numbers = bits, numbers
        self._catalog, self._columns = catalog, columns
        self._selected: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        """How many rules."""
        return len(self._numbers)

    def renew(self) -> None:
        """Rows may have got other bits."""
        self._selected.clear()

    def with_offered(self, joined: JoinedPools, requests: RequestTable) -> JoinedPools:
        """The candidates, and behind them what the rules bring into lists that lack it."""
        owners: list[NDArray[np.int64]] = []
        offered: list[NDArray[np.int64]] = []
        for number in self._numbers:
            rows = self._offered(number)
            lists = np.flatnonzero(lists_of(self._bits.rules[number].when, requests))
            owners.append(np.repeat(lists, len(rows)))
            offered.append(np.tile(rows, len(lists)))
        owner, rows = np.concatenate(owners), np.concatenate(offered)
        held = places_of(Keys(owner, rows), Keys(joined.owner, joined.pool.rows), len(requests))
        span = len(self._catalog.items)
        lacking = np.sort(owner[held < 0] * span + rows[held < 0])
        # Two rules may bring the same.
        distinct = lacking[np.diff(lacking, prepend=-1) > 0]
        return _extended(joined, *np.divmod(distinct, span))

    def fix(
        self,
        fixed: NDArray[np.int64],
        hits: RuleHits,
        rows: NDArray[np.int64],
        owner: NDArray[np.int64],
        scores: NDArray[np.float32],
        allowed: NDArray[np.bool_],
        caps: Sequence[Cap],
    ) -> NDArray[np.int64]:
        """Put items at places that are still free.

        Args:
            fixed: int64 [L, K], the candidate at each place, changed here.
            hits: of the rules among the N candidates.
            rows, owner, scores: of the candidates; what was only offered has minus infinity.
            allowed: bool [N], which may stand in their lists at all.
            caps: hold for the lists.

        Returns:
            int64 [N]: ``PINNED``, ``SPONSORED``, or ``NOT_PLACED``.
        """
        placed = np.full(len(rows), NOT_PLACED, np.int64)
        for number in self._numbers:
            rule = self._bits.rules[number]
            here = hits.places(number)
            here = here[allowed[here]]
            if isinstance(rule, Sponsored):
                here = here[~(self._columns.stock[rows[here]] <= 0)]
            if not len(here):
                continue
            order = np.lexsort((*self._order(number, rows[here], scores[here]), owner[here]))
            table = _in_lists(here[order], owner[here[order]], len(fixed))
            kind = SPONSORED if isinstance(rule, Sponsored) else PINNED
            for position in positions_of(rule):
                if position <= fixed.shape[1]:
                    placed[_fix_first(fixed, position - 1, table, caps)] = kind
        return placed

    def _offered(self, number: int) -> NDArray[np.int64]:
        """Rows that a rule brings into lists, of those that may be recommended now."""
        named = self._bits.rules[number].items
        if named:
            rows = np.array([self._catalog.row_of(each) for each in named], np.int64)
            return rows[self._catalog.usable(rows)]
        if number not in self._selected:
            self._selected[number] = self._bits.rows_of(number)
        selected = self._selected[number]
        rows = selected[: 8 * RESERVE]
        usable = rows[self._catalog.usable(rows)]
        if len(usable) < RESERVE < len(selected):
            usable = selected[self._catalog.usable(selected)]
        return usable[:RESERVE]

    def _order(
        self, number: int, rows: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.generic], ...]:
        """Keys for ``lexsort``: as they are named, else by score, and then as they are offered."""
        rule = self._bits.rules[number]
        if rule.items:
            named = np.array([self._catalog.row_of(each) for each in rule.items], np.int64)
            sorter = np.argsort(named, kind="stable")
            at = np.searchsorted(named[sorter], rows)
            return (sorter[np.minimum(at, len(named) - 1)],)
        if rule.age_days is not None:
            return rows, -self._columns.created[rows], -scores
        return rows, -scores


def reserve(
    fixed: NDArray[np.int64],
    reserved: NDArray[np.int64],
    owner: NDArray[np.int64],
    scores: NDArray[np.float32],
    caps: Sequence[Cap],
) -> None:
    """Put candidates at the last free places of their lists, the best one of a list first.

    Args:
        fixed: int64 [L, K], changed here.
        reserved: places among the candidates, of those that may stand in their lists.
        owner, scores: of all candidates.
        caps: hold for the lists.
    """
    order = np.lexsort((scores[reserved], owner[reserved]))
    table = _in_lists(reserved[order], owner[reserved[order]], len(fixed))
    # One place at least is the blend's.
    for place in range(fixed.shape[1] - 1, 0, -1):
        _fix_first(fixed, place, table, caps)


def _extended(
    joined: JoinedPools, owner: NDArray[np.int64], rows: NDArray[np.int64]
) -> JoinedPools:
    """The same candidates and these behind them, of which nothing is known."""
    pool = {each.name: getattr(joined.pool, each.name) for each in fields(Pool)}
    nothing = {name: np.zeros(len(rows), column.dtype) for name, column in pool.items()}
    nothing["rows"] = rows
    return JoinedPools(
        Pool(**{name: np.concatenate([column, nothing[name]]) for name, column in pool.items()}),
        np.concatenate([joined.owner, owner]),
        np.concatenate([joined.network, np.zeros(len(rows), np.float32)]),
    )


def _in_lists(places: NDArray[np.int64], owner: NDArray[np.int64], lists: int) -> NDArray[np.int64]:
    """int64 [L, W]: the places of each list, -1 behind them; ``owner`` rises."""
    sizes = np.bincount(owner, minlength=lists)
    table = np.full((lists, max(int(sizes.max(initial=0)), 1)), -1, np.int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = places
    return table


def _fix_first(
    fixed: NDArray[np.int64], place: int, table: NDArray[np.int64], caps: Sequence[Cap]
) -> NDArray[np.int64]:
    """Fix the first of each list's that has room, where the place is free; those that were."""
    may = has_room(table, fixed, caps)
    lists = np.flatnonzero((fixed[:, place] == FREE) & may.any(axis=1))
    chosen: NDArray[np.int64] = table[lists, may[lists].argmax(axis=1)]
    fixed[lists, place] = chosen
    return chosen
