"""Items that match a query: by its words, by what mistyped words were meant to be, and by meaning.

Words are BM25 over title, category and brand. With an encoder the rows whose texts are most alike
join them, and relevance is a convex combination of both scores, each between 0 and 1 (Bruch, Gai
and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023). What is found first tells
more of what is meant: the query's vector is moved towards it, and asked once more (Rocchio,
"Relevance Feedback in Information Retrieval", 1971, with the first rows taken as relevant).
"""

import asyncio
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.lexical_index import best_places
from serving.meaning_search import MeaningSearch
from serving.query_terms import Wanted, as_meant
from serving.text_vectors import Alike
from serving.word_search import WordMatches, WordSearch

FEEDBACK_ROWS, FEEDBACK = 3, 0.6
"""Rows found first, and how far the query moves towards them; chosen on validation queries."""
REACH = 4
"""Times as many rows as are wanted, of which the moved query takes the best."""
LEAST_SURE = 0.3
"""What the best match by meaning alone counts: as if it covered so much of the query's words."""


class MatchKind(IntEnum):
    """How a row came to match a query."""

    WORDS = 0
    """It holds words of the query."""
    CORRECTED = 1
    """It holds what a mistyped word of the query was meant to be."""
    MEANING = 2
    """It is alike, and holds no word of it."""


class Found(NamedTuple):
    """The rows that match a query best."""

    rows: NDArray[np.int64]
    """[N], best first."""
    match: NDArray[np.float32]
    """How relevant each is, in (0, 1]: 1 for the best one if it covers the whole query."""
    kinds: NDArray[np.uint8]
    """``MatchKind`` of each."""
    corrected: tuple[tuple[str, str], ...]
    """Words that the catalogue does not have, and what was looked for instead, likeliest first."""


class SearchIndex:
    """Rows by their texts. A row is written once; a changed text gets a new row.

    Args:
        meaning: None to go by words alone.
    """

    def __init__(self, meaning: MeaningSearch | None = None) -> None:
        self.words = WordSearch()
        self.meaning = meaning

    def add(
        self, row: int, title: str, category: Sequence[str] = (), brand: str | None = None
    ) -> None:
        """Index the text of a row; rows come in rising order.

        It is found by its words at once, and by its meaning when ``meaning`` has encoded it.
        """
        texts = title, " ".join(category), brand or ""
        self.words.add(row, texts)
        if self.meaning is not None:
            self.meaning.add(row, " ".join(filter(None, texts)))

    def find(self, query: str, allowed: NDArray[np.bool_], most: int) -> Found:
        """The rows that match a query best, equal ones in row order.

        Args:
            query: any text.
            allowed: bool [rows]; others are left out.
            most: how many at most.
        """
        words = self.words.find(query, allowed, most)
        if self.meaning is None:
            return self._found(words, words.rows, words.scores)
        (found,) = self._joined(self.meaning, [query], [words], allowed, most)
        return found

    async def find_lists(
        self, queries: Sequence[str], allowed: NDArray[np.bool_], most: int
    ) -> list[Found]:
        """What ``find`` says to each of several queries; meanings are compared in a thread."""
        by_query = {
            query: self.words.find(query, allowed, most) for query in dict.fromkeys(queries)
        }
        words = [by_query[query] for query in queries]
        if self.meaning is None or not queries:
            return [self._found(each, each.rows, each.scores) for each in words]
        return await asyncio.to_thread(
            self._joined, self.meaning, queries, words, allowed.copy(), most
        )

    def told(
        self, query: str, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], tuple[tuple[str, str], ...]]:
        """How rows that a query has found match it: ``kinds`` and ``corrected`` of ``Found``."""
        return self._told(self.words.wanted(query), rows)

    def _joined(
        self,
        meaning: MeaningSearch,
        queries: Sequence[str],
        words: Sequence[WordMatches],
        allowed: NDArray[np.bool_],
        most: int,
    ) -> list[Found]:
        vectors = self._vectors(meaning, queries, words)
        found = []
        reached = meaning.vectors.nearest(vectors, allowed, REACH * most)
        for vector, each, near in zip(vectors, words, reached, strict=True):
            alike = Alike(near.rows[:most], near.cosines[:most])
            rows, scores = self._fused(meaning, vector, each, alike, most)
            if len(alike.rows):
                towards = meaning.vectors.mean(rows[:FEEDBACK_ROWS], scores[:FEEDBACK_ROWS])
                moved = vector + np.float32(FEEDBACK) * towards
                moved /= max(float(np.linalg.norm(moved)), 1e-9)
                cosines = meaning.vectors.cosines(moved, near.rows)
                best = best_places(cosines, most)
                alike = Alike(near.rows[best], cosines[best])
                rows, scores = self._fused(meaning, moved, each, alike, most)
            found.append(self._found(each, rows, scores))
        return found

    def _vectors(
        self, meaning: MeaningSearch, queries: Sequence[str], words: Sequence[WordMatches]
    ) -> NDArray[np.float32]:
        """The vectors of Q queries [Q, D]. One with mistyped words is read both as it was typed and
        as it was meant: a word that no text holds need not be a mistake."""
        meant = [as_meant(query, each.wanted) for query, each in zip(queries, words, strict=True)]
        again = [at for at, query in enumerate(queries) if meant[at] != query]
        if not again:
            return meaning.query_vectors(queries)
        vectors = meaning.query_vectors([*queries, *(meant[at] for at in again)])
        typed = vectors[: len(queries)]
        both = typed[again] + vectors[len(queries) :]
        typed[again] = both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-9)
        return typed

    def _fused(
        self,
        meaning: MeaningSearch,
        vector: NDArray[np.float32],
        words: WordMatches,
        alike: Alike,
        most: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best of both, best first, and how relevant each is, in (0, 1]."""
        if not len(alike.rows):
            return words.rows, words.scores
        rows = np.union1d(words.rows, alike.rows)
        # What is found by the one is judged by the other too, however far down it stands there.
        by_words = self.words.scores_of(words, rows)
        cosines = meaning.vectors.cosines(vector, rows)
        highest, lowest = alike.cosines[0], alike.cosines[-1]
        by_meaning = np.clip((cosines - lowest) / max(highest - lowest, 1e-6), 0, 1)
        if highest == lowest:
            by_meaning = (cosines >= highest).astype(np.float32)
        share = np.float32(meaning.encoder.share)
        scores = (1 - share) * by_words + share * by_meaning
        best = best_places(scores, most)
        best = best[scores[best] > 0]
        sure = max(words.coverage, LEAST_SURE)
        return rows[best], scores[best] * np.float32(sure / max(scores.max(), 1e-6))

    def _found(
        self, words: WordMatches, rows: NDArray[np.int64], match: NDArray[np.float32]
    ) -> Found:
        return Found(rows, match, *self._told(words.wanted, rows))

    def _told(
        self, wanted: Sequence[Wanted], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], tuple[tuple[str, str], ...]]:
        kinds = np.full(len(rows), MatchKind.MEANING, np.uint8)
        kinds[self.words.holding(wanted, rows, corrected=False)] = MatchKind.WORDS
        kinds[self.words.holding(wanted, rows, corrected=True)] = MatchKind.CORRECTED
        corrected = [
            (each.typed, term.text) for each in wanted if each.is_corrected for term in each.terms
        ]
        return kinds, tuple(corrected)
