"""Which rules are about which rows of the catalogue: a bit for each, kept as the catalogue changes.

A list has a few hundred candidates and a shop some ten rules: what a selector says of an item is
found out once, when the item is put, and read for all candidates of a micro-batch in one go.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.events import Context
from model.words import tokens
from serving.catalog import Catalog
from serving.item_columns import ItemColumns
from serving.list_request import ListRequest, RequestTable
from serving.rules import Lists, Rule
from serving.selection import Selection

WORD_BITS = 64
NO_CONTEXT = Context()


class RuleBits:
    """Bits of rules, by row.

    Args:
        rules: in any order; each is known by its number here.
        catalog, columns: whose rows there are.
    """

    def __init__(self, rules: Sequence[Rule], catalog: Catalog, columns: ItemColumns) -> None:
        self.rules = rules
        self._columns = columns
        self._selections = [
            Selection(rule, catalog, columns) if rule.is_given else None for rule in rules
        ]
        self._words = [np.zeros(0, np.uint64) for _ in range(0, len(rules), WORD_BITS)]
        self.renew(np.arange(len(catalog.items)))

    def renew(self, rows: NDArray[np.int64]) -> None:
        """Look at these rows again, which are distinct."""
        capacity = len(self._columns.brand)
        for at, word in enumerate(self._words):
            if len(word) < capacity:
                more = np.zeros(capacity - len(word), np.uint64)
                self._words[at] = word = np.concatenate([word, more])
            found = np.zeros(len(rows), np.uint64)
            for bit, selection in enumerate(self._selections[at * WORD_BITS :][:WORD_BITS]):
                if selection is not None:
                    found |= selection.of(rows).astype(np.uint64) << np.uint64(bit)
            word[rows] = found

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """The rows that a rule selects, whatever their age; the newest items first where age
        matters, else as they came."""
        word, bit = divmod(number, WORD_BITS)
        rows = np.flatnonzero(self._words[word] & np.uint64(1 << bit) != 0)
        selection = self._selections[number]
        if selection is not None and selection.is_aged:
            created = np.nan_to_num(self._columns.created[rows], nan=-np.inf)
            rows = rows[np.argsort(-created, kind="stable")]
        return rows

    def words_of(self, rows: NDArray[np.int64]) -> list[NDArray[np.uint64]]:
        """The bits of N rows."""
        return [word[rows] for word in self._words]

    def fits_age(
        self, number: int, rows: NDArray[np.int64], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which of N rows a rule's selector takes for their age."""
        selection = self._selections[number]
        if selection is None or not selection.is_aged:
            return np.ones(len(rows), np.bool_)
        return selection.of_age(rows, times)


class RuleHits:
    """What the rules are about among the candidates of the lists of a micro-batch.

    Args:
        bits: of the rules.
        requests: of the L lists.
        owner, rows: of the N candidates: number of the list, and row of the catalogue.
    """

    def __init__(
        self,
        bits: RuleBits,
        requests: RequestTable,
        owner: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> None:
        self._bits, self._requests = bits, requests
        self._owner, self._rows = owner, rows
        # No rule is about most candidates: those are passed over once, for all rules.
        self._some: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
        for word in bits.words_of(rows):
            some = np.flatnonzero(word != 0)
            self._some.append((some, word[some]))

    def places(self, number: int) -> NDArray[np.int64]:
        """The candidates that a rule is about, as places among all, rising."""
        rule = self._bits.rules[number]
        if rule.is_given:
            at, bit = divmod(number, WORD_BITS)
            some, word = self._some[at]
            found: NDArray[np.int64] = some[word & np.uint64(1 << bit) != 0]
        else:
            found = np.arange(len(self._rows))
        if rule.when is not None and len(found):
            found = found[lists_of(rule.when, self._requests)[self._owner[found]]]
        if rule.age_days is not None and len(found):
            times = self._requests.times[self._owner[found]]
            found = found[self._bits.fits_age(number, self._rows[found], times)]
        return found


def lists_of(when: Lists | None, requests: RequestTable) -> NDArray[np.bool_]:
    """Which of L lists a rule is for, bool [L]."""
    if when is None:
        return np.ones(len(requests), np.bool_)
    phrases = [frozenset(tokens(each)) for each in when.words]
    return np.array([_is_for(when, phrases, each) for each in requests], np.bool_)


def _is_for(when: Lists, phrases: list[frozenset[str]], request: ListRequest) -> bool:
    context = request.context or NO_CONTEXT
    if when.countries and context.country not in when.countries:
        return False
    if when.devices and context.device not in when.devices:
        return False
    if when.searches is not None and when.searches != (request.query is not None):
        return False
    if not phrases:
        return True
    asked = frozenset(tokens(request.query or ""))
    return any(phrase and phrase <= asked for phrase in phrases)
