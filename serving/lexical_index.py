"""Rows by the words of their texts: an inverted index in memory that grows row by row.

Rows are ordered by BM25 over weighted fields: frequencies and lengths are added up over fields,
each times the field's weight, and saturate together (BM25F; Robertson, Zaragoza and Taylor, "Simple
BM25 Extension to Multiple Weighted Fields", 2004).

A search costs what its rarer terms are found in. Rows that hold a common term alone are not looked
at where enough others match better (Turtle and Flood, "Query Evaluation: Strategies and
Optimizations", 1995), so that a category of the whole catalogue does not cost the whole catalogue.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.search_terms import terms

K1, B = 1.2, 0.5
"""How fast repetitions of a term stop to count, and how much longer texts have to say more."""
_STEP = 0.5
"""Frequencies are kept in halves up to 7.5, beside the row in one number of 32 bits: rows may come
to 268 million."""
_BITS, _MASK = 4, 15
MANY = 16
"""From a sixteenth of all rows on, looking at each is cheaper than listing hits."""
SAMPLED = 64
BLOCK = 64
"""Scores of which only the greatest is looked at first."""


class Field(NamedTuple):
    """A text of a row, and what a word of it counts."""

    text: str
    weight: float


class Term(NamedTuple):
    """What is looked for."""

    text: str
    weight: float = 1.0
    """Of a word that was meant less surely, less than 1."""


class Held(NamedTuple):
    """A term, and where it stands."""

    rows: NDArray[np.int64]
    """Rising."""
    codes: NDArray[np.uint32]
    """Frequencies in steps."""
    weight: float
    """Times its inverse document frequency."""


class LexicalIndex:
    """Rows of texts by term. A row is written once; a changed text gets a new row."""

    def __init__(self) -> None:
        # Most terms of a large catalogue are in one text: a number takes a third of an array.
        self._packed: dict[str, int | array[int]] = {}
        self._size = 0
        self._lengths = np.zeros(1024, np.float32)
        self._total_length = 0.0
        # Zeros between queries: fresh pages of this size would cost more than the search.
        self._scores = np.zeros(0, np.float32)

    def __len__(self) -> int:
        """One more than the last row."""
        return self._size

    def add(self, row: int, fields: Iterable[Field]) -> list[str]:
        """Index the texts of a row; rows come in rising order.

        Returns:
            The terms that no row held before.
        """
        frequencies: dict[str, float] = {}
        length = 0.0
        for text, weight in fields:
            for term in terms(text):
                frequencies[term] = frequencies.get(term, 0.0) + weight
                length += weight
        fresh = []
        for term, frequency in frequencies.items():
            packed = row << _BITS | max(1, min(_MASK, round(frequency / _STEP)))
            held = self._packed.get(term)
            if held is None:
                self._packed[term] = packed
                fresh.append(term)
            elif isinstance(held, int):
                self._packed[term] = array("I", (held, packed))
            else:
                held.append(packed)
        while row >= len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._lengths[row] = length
        self._total_length += length
        self._size = max(self._size, row + 1)
        return fresh

    def count(self, term: str) -> int:
        """How many rows hold a term."""
        held = self._packed.get(term, ())
        return 1 if isinstance(held, int) else len(held)

    def find(
        self, asked: Sequence[Term], allowed: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows that match terms best.

        Args:
            asked: distinct terms.
            allowed: bool [rows]; others are left out.
            most: how many at most.

        Returns:
            Rows int64 [N], best first, and their BM25, float32 > 0. Equal ones keep row order.
        """
        if len(self._scores) < self._size:
            self._scores = np.zeros(2 * self._size, np.float32)
        mean_length = self._total_length / max(self._size, 1)
        # Rare ones first, equal ones in one order: the sums are then the same in every process.
        held = [self.held(each) for each in sorted(asked, key=self._order)]
        bounds = [(K1 + 1) * each.weight for each in held]
        hits: NDArray[np.int64] | None = np.empty(0, np.int64)
        for at, each in enumerate(held):
            hits = self._add(hits, each, mean_length, sum(bounds[at:]), allowed, most)
        if hits is None:
            return self._best_of_all(allowed, most)
        # Runs of rising rows: a stable sort merges them.
        found = np.sort(hits[allowed[hits]], kind="stable")
        best = found[best_places(self._scores[found], most)]
        scores = self._scores[best]
        self._scores[hits] = 0
        return best, scores

    def scores_of(self, asked: Sequence[Term], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The BM25 of some rows, float32, 0 where nothing matches."""
        mean_length = self._total_length / max(self._size, 1)
        scores = np.zeros(len(rows), np.float32)
        for term in sorted(asked, key=self._order):
            held = self.held(term)
            hit, places = places_in(held.rows, rows)
            scores[hit] += self._gains(held.weight, rows[hit], held.codes[places], mean_length)
        return scores

    def weight(self, count: int) -> float:
        """The inverse document frequency of a term that ``count`` rows hold."""
        return float(np.log(1 + (self._size - count + 0.5) / (count + 0.5)))

    def held(self, term: Term) -> Held:
        """Where a term stands."""
        held = self._packed.get(term.text)
        if isinstance(held, array):
            # A copy: an array whose buffer is lent, in another thread, cannot be appended to.
            packed = np.frombuffer(held.tobytes(), np.uint32)
        else:
            packed = np.array(() if held is None else (held,), np.uint32)
        weight = self.weight(len(packed)) * term.weight
        return Held((packed >> _BITS).astype(np.int64), packed & np.uint32(_MASK), weight)

    def _order(self, term: Term) -> tuple[int, str]:
        return self.count(term.text), term.text

    def _add(
        self,
        hits: NDArray[np.int64] | None,
        held: Held,
        mean_length: float,
        rest: float,
        allowed: NDArray[np.bool_],
        most: int,
    ) -> NDArray[np.int64] | None:
        """Add a term's score to its rows; returns the hits with those that are new.

        ``rest`` bounds the score of this and all later terms: no new row can come to more. Hits
        that are a good part of all rows are not listed: None stands for them.
        """
        rows, codes = held.rows, held.codes
        if self._suffice(hits, rest, allowed, most):
            if hits is None:
                among = self._scores[rows] > 0
                rows, codes = rows[among], codes[among]
            else:
                _, places = places_in(rows, hits)
                rows, codes = rows[places], codes[places]
        elif hits is not None:
            many = (len(hits) + len(rows)) * MANY > self._size
            hits = None if many else np.concatenate([hits, rows[self._scores[rows] == 0]])
        self._scores[rows] += self._gains(held.weight, rows, codes, mean_length)
        return hits

    def _gains(
        self,
        weight: float,
        rows: NDArray[np.int64],
        codes: NDArray[np.uint32],
        mean_length: float,
    ) -> NDArray[np.float32]:
        """What a term adds to the scores of rows that hold it."""
        norm = self._lengths[rows]
        norm *= np.float32(K1 * B / max(mean_length, 1e-9))
        norm += np.float32(K1 * (1 - B))
        gains = codes * np.float32(_STEP)
        norm += gains
        gains *= np.float32((K1 + 1) * weight)
        gains /= norm
        return gains

    def _suffice(
        self,
        hits: NDArray[np.int64] | None,
        rest: float,
        allowed: NDArray[np.bool_],
        most: int,
    ) -> bool:
        """Whether as many rows as are wanted score more already than a new one can."""
        bar = 1.00001 * rest  # the sums are rounded, each time by less than a millionth
        if hits is None:
            here = self._scores[: len(allowed)]
            return int(np.count_nonzero((here > bar) & allowed)) >= most
        if len(hits) < most:
            return False
        return int(np.count_nonzero(self._scores[hits[allowed[hits]]] > bar)) >= most

    def _best_of_all(
        self, allowed: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best of all rows, whose scores are zero again afterwards."""
        scores = self._scores[: len(allowed)]
        scores *= allowed
        # A sample tells where the best begin, so that few have to be put in order.
        sample = scores[::SAMPLED]
        wanted = min(len(sample), 2 * (most // SAMPLED + 1))
        bar = np.partition(sample, len(sample) - wanted)[-wanted]
        found = np.flatnonzero(scores >= bar) if bar > 0 else np.flatnonzero(scores)
        if len(found) < most:
            found = np.flatnonzero(scores)
        elif np.count_nonzero(scores[found] > bar) < most:
            # Most are equal: the first ones of those stand on the list.
            above = np.flatnonzero(scores[found] > bar)
            equal = np.flatnonzero(scores[found] == bar)[: most - len(above)]
            found = found[np.sort(np.concatenate([above, equal]))]
        best = found[best_places(scores[found], most)]
        best_scores = scores[best]
        self._scores[: self._size] = 0
        return best, best_scores


def places_in(
    rows: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the wanted are among rising rows, bool [N], and at what places those are."""
    if not len(rows):
        return np.zeros(len(wanted), np.bool_), np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    held = rows[places] == wanted
    return held, places[held]


def best_places(scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Places of the greatest, greatest first, equal ones in their order."""
    if len(scores) <= most:
        return np.argsort(-scores, kind="stable")
    if (blocks := len(scores) // BLOCK) > most:
        # What as many blocks reach as are wanted, no other one needs to be compared with.
        greatest = scores[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)
        hopeful = np.flatnonzero(scores >= np.partition(greatest, blocks - most)[-most])
        if len(hopeful) < len(scores):
            return hopeful[best_places(scores[hopeful], most)]
    least = np.partition(scores, len(scores) - most)[-most]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: most - len(above)]
    first = np.concatenate([above, equal])
    return first[np.argsort(-scores[first], kind="stable")]
