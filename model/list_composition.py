"""Lists filled place by place, all lists at once: what is fixed, caps, and diversity.

Without caps and diversity a list is the best of its candidates (``pool_table.best_of_lists``). Here
each place takes the best candidate that the list has room for, as one would by hand: what stands at
a fixed place counts from the beginning.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.diversity import IN_QUESTION, Diversity, Marginal, Traits
from model.pool_table import Chosen, best_of_lists

FREE = -1
AT_FIRST = 3
"""Times the length of a list: so many candidates are looked at before all are. Caps rarely leave
out more."""


class Cap(NamedTuple):
    """At most so many of a group in a list."""

    groups: NDArray[np.int64]
    """int64 [N]: of each candidate; below 0 for none."""
    most: int


class Ranked(NamedTuple):
    """The candidates of L lists, N together; columns [N]."""

    owner: NDArray[np.int64]
    """Number of the list; in runs of which each goes through the lists in their order."""
    match: NDArray[np.float32]
    scores: NDArray[np.float32]
    """Minus infinity keeps a candidate out, except where it is fixed."""
    rows: NDArray[np.int64]


class Variety(NamedTuple):
    """By what lists are to vary."""

    diversity: Diversity
    traits: Traits


def compose(
    ranked: Ranked,
    fixed: NDArray[np.int64],
    caps: Sequence[Cap] = (),
    variety: Variety | None = None,
) -> Chosen:
    """The items of each of L lists.

    Args:
        ranked: the candidates.
        fixed: int64 [L, K]: the candidate that is fixed at each place, ``FREE`` for none. Whoever
            fixes them has seen to the caps.
        caps: hold for all places.
        variety: None where lists need not vary.

    A list that has too few candidates for its last fixed place closes up.
    """
    lists, length = fixed.shape
    if not len(ranked.rows):
        return Chosen(np.empty(0, np.int64), np.zeros(lists, np.int64))
    scores = ranked.scores
    if (fixed >= 0).any():
        scores = scores.copy()
        scores[fixed[fixed >= 0]] = -np.inf
    left = ranked._replace(scores=scores)
    window = length * (1 if not caps else AT_FIRST)
    if variety is not None:
        window = length * IN_QUESTION
    table = _table(left, lists, window)
    filled = _filled(left, table, fixed, caps, variety, length)
    # Caps may have left out too many: those lists are made again from all that they have.
    counts = np.bincount(ranked.owner[scores > -np.inf], minlength=lists)
    short = np.flatnonzero((filled < 0).any(axis=1) & (counts > window))
    if len(short) and caps:
        wider = _table(left, lists, int(counts[short].max()))[short]
        filled[short] = _filled(left, wider, fixed[short], caps, variety, length)
    held = filled >= 0
    return Chosen(filled[held], np.cumsum(held.sum(axis=1)))


def has_room(
    places: NDArray[np.int64], filled: NDArray[np.int64], caps: Sequence[Cap]
) -> NDArray[np.bool_]:
    """Which candidates may join the lists as they are.

    Args:
        places: int64 [L, W], candidates of each list; -1 for none, which may not.
        filled: int64 [L, K], what stands in each list; ``FREE`` for none.
        caps: hold for the lists.
    """
    may = places >= 0
    may &= ~_any_equal(places, filled)
    for groups, most in caps:
        held = np.where(filled >= 0, groups[filled], FREE)
        for each in range(filled.shape[1]):
            group = held[:, each]
            full = (group >= 0) & ((held == group[:, None]).sum(axis=1) >= most)
            if full.any():
                may &= ~(full[:, None] & (groups[places] == group[:, None]))
    return may


def _any_equal(places: NDArray[np.int64], filled: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(places.shape, np.bool_)
    for each in range(filled.shape[1]):
        if (filled[:, each] >= 0).any():
            found |= places == filled[:, each, None]
    return found


def _table(ranked: Ranked, lists: int, width: int) -> NDArray[np.int64]:
    """int64 [L, up to ``width``]: the best candidates of each list, best first; -1 behind them."""
    places, ends = best_of_lists(*ranked, lists=lists, length=width)
    sizes = np.diff(ends, prepend=0)
    table = np.full((lists, max(int(sizes.max(initial=0)), 1)), -1, np.int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = places
    return table


def _filled(
    ranked: Ranked,
    table: NDArray[np.int64],
    fixed: NDArray[np.int64],
    caps: Sequence[Cap],
    variety: Variety | None,
    length: int,
) -> NDArray[np.int64]:
    """int64 [L, K], ``FREE`` where nothing is left; free places are moved to the end."""
    filled = fixed.copy()
    lists = np.arange(len(table))
    may = has_room(table, filled, caps)
    groups = [cap.groups[table] for cap in caps]
    choice = None if variety is None else _Choice(ranked, table, variety, length, fixed)
    for place in range(length):
        free = (filled[:, place] < 0) & may.any(axis=1)
        if not free.any():
            continue
        best = may.argmax(axis=1) if choice is None else choice.best(may)
        chosen = np.where(free, table[lists, best], FREE)
        filled[free, place] = chosen[free]
        may[lists[free], best[free]] = False
        for (of_all, most), of_table in zip(caps, groups, strict=True):
            group = np.where(free, of_all[chosen], FREE)
            held = np.where(filled >= 0, of_all[filled], FREE)
            full = (group >= 0) & ((held == group[:, None]).sum(axis=1) >= most)
            may &= ~(full[:, None] & (of_table == group[:, None]))
        if choice is not None:
            choice.add(chosen)
    order = np.argsort(filled < 0, axis=1, kind="stable")
    closed_up: NDArray[np.int64] = np.take_along_axis(filled, order, axis=1)
    return closed_up


class _Choice:
    """The best of what may join, of which the first ones of a list are weighed for variety."""

    def __init__(
        self,
        ranked: Ranked,
        table: NDArray[np.int64],
        variety: Variety,
        length: int,
        fixed: NDArray[np.int64],
    ) -> None:
        self._width = IN_QUESTION * length
        first = table[:, : self._width]
        self._marginal = Marginal(variety.diversity, first, ranked.scores, variety.traits)
        # A step of the match outweighs all else: marginal relevance is from -1.5 to 1.
        self._steps = 3 * np.ceil(ranked.match[first] * 10)
        for place in np.flatnonzero((fixed >= 0).any(axis=0)).tolist():
            self._marginal.add(fixed[:, place])

    def best(self, may: NDArray[np.bool_]) -> NDArray[np.int64]:
        """int64 [L]: the column of each list's best; of equal ones, the one that ranks higher."""
        first = may[:, : self._width]
        values = np.where(first, self._marginal.values + self._steps, -np.inf)
        weighed = values.argmax(axis=1)
        best: NDArray[np.int64] = np.where(first.any(axis=1), weighed, may.argmax(axis=1))
        return best

    def add(self, chosen: NDArray[np.int64]) -> None:
        self._marginal.add(chosen)
