"""Rows that hold words of a query, or what mistyped ones were meant to be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.lexical_index import Field, LexicalIndex, Term, places_in
from serving.query_terms import Wanted, distinct_terms, wanted_terms
from serving.word_list import WordList

FIELD_WEIGHTS = 1.0, 1.0, 1.0
"""Of title, category and brand: on validation queries nothing was better."""


REMEMBERED = 1_000
"""Queries whose mistyped words need not be looked up again while no item comes."""


@dataclass(frozen=True)
class WordMatches:
    """The rows that match a query's words best, and what was looked for."""

    rows: NDArray[np.int64]
    """[N], best first, equal ones in row order."""
    scores: NDArray[np.float32]
    """float32 [N] in (0, 1]: BM25 as a share of the best row's, times ``coverage``."""
    wanted: list[Wanted]
    terms: list[Term]
    coverage: float
    """Share of the query that the best row covers, each word weighing its inverse document
    frequency; 0 where nothing was found."""
    best: float
    """The best row's BM25."""


class WordSearch:
    """An inverted index and the words it holds."""

    def __init__(self) -> None:
        self._index = LexicalIndex()
        self._words = WordList()
        self._asked_before: dict[str, tuple[int, list[Wanted]]] = {}

    def add(self, row: int, texts: Sequence[str]) -> None:
        """Index the title, category and brand of a row; rows come in rising order."""
        for word in self._index.add(row, map(Field, texts, FIELD_WEIGHTS)):
            self._words.add(word)

    def find(
        self, query: str, allowed: NDArray[np.bool_], most: int, *, correct: bool = True
    ) -> WordMatches:
        """The rows that match best.

        Args:
            query: any text.
            allowed: bool [rows]; others are left out.
            most: how many at most.
            correct: whether words that no text holds stand for others.
        """
        wanted = self.wanted(query) if correct else wanted_terms(query, self._index, None)
        terms = distinct_terms(wanted)
        rows, scores = self._index.find(terms, allowed, most)
        if not len(rows):
            return WordMatches(rows, scores, wanted, terms, 0.0, 0.0)
        coverage = self._coverage(wanted, rows[:1])
        best = float(scores[0])
        return WordMatches(
            rows, scores * np.float32(coverage / best), wanted, terms, coverage, best
        )

    def wanted(self, query: str) -> list[Wanted]:
        """The words of a query, mistyped ones with what they were meant to be."""
        size = len(self._index)
        held = self._asked_before.get(query)
        if held is None or held[0] != size:
            if len(self._asked_before) >= REMEMBERED:
                self._asked_before.clear()
            held = size, wanted_terms(query, self._index, self._words)
            self._asked_before[query] = held
        return held[1]

    def scores_of(self, matches: WordMatches, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of any rows for the same query, float32 [N], 0 where no word matches."""
        if not matches.best:
            return np.zeros(len(rows), np.float32)
        scores = self._index.scores_of(matches.terms, rows)
        return scores * np.float32(matches.coverage / matches.best)

    def holding(
        self, wanted: Sequence[Wanted], rows: NDArray[np.int64], *, corrected: bool
    ) -> NDArray[np.bool_]:
        """Which rows hold a word that was typed, or one that stands for a mistyped one."""
        found = np.zeros(len(rows), np.bool_)
        for each in wanted:
            if each.is_corrected == corrected:
                for term in each.terms:
                    found |= places_in(self._index.held(term).rows, rows)[0]
        return found

    def _coverage(self, wanted: Sequence[Wanted], row: NDArray[np.int64]) -> float:
        covered = 0.0
        for each in wanted:
            held = [t.weight for t in each.terms if places_in(self._index.held(t).rows, row)[0][0]]
            covered += each.weight * max(held, default=0.0)
        return covered / sum(each.weight for each in wanted)
