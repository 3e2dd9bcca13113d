"""What a query asks for: its words as the catalogue has them, and what mistyped ones were to be.

A word that no text holds becomes the words of fewest typing errors, of which frequent ones are
likelier (a noisy channel with fixed odds; Kernighan, Church and Gale, "A Spelling Correction
Program Based on a Noisy Channel Model", 1990); else the two words that it is made of; else the
words that begin so.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.search_terms import terms
from serving.lexical_index import LexicalIndex, Term
from serving.word_list import WordList, may_be_mistyped

MEANT = 3
"""Words that an unknown one may have been meant to be."""
AN_ERROR = 2.0
"""What an error speaks against a word, as the logarithm of how often a rival occurs."""
SAME_START = 1.0
"""People seldom mistype the first letter."""
AS_LIKELY = 1.5
"""A word that much less likely than the likeliest is none of those meant."""
ERROR_WEIGHT, PART_WEIGHT, START_WEIGHT = 0.8, 0.9, 0.7
"""What a word counts that was meant, for each error; as a part; as the rest of a beginning."""


_WORD = re.compile(r"[^\W_]+")


class Wanted(NamedTuple):
    """A word of a query."""

    typed: str
    weight: float
    """Inverse document frequency: what the query loses without it."""
    terms: tuple[Term, ...]
    """Any of which will do; none where the catalogue has nothing like it."""

    @property
    def is_corrected(self) -> bool:
        """Whether other words are looked for instead."""
        return bool(self.terms) and self.terms[0].text != self.typed


def wanted_terms(query: str, index: LexicalIndex, words: WordList | None) -> list[Wanted]:
    """The distinct words of a query, in order.

    Args:
        query: any text.
        index: the texts.
        words: those of the texts; None to leave unknown words as they are.
    """
    found = []
    for typed in dict.fromkeys(terms(query)):
        count = index.count(typed)
        meant: tuple[Term, ...] = (Term(typed),) if count else ()
        if not count and words is not None:
            meant = tuple(_meant(typed, index, words))
        weights = [index.weight(index.count(term.text)) for term in meant]
        found.append(Wanted(typed, max(weights, default=index.weight(0)), meant))
    return found


def distinct_terms(wanted: list[Wanted]) -> list[Term]:
    """All that is looked for, once each, at its greatest weight."""
    weights: dict[str, float] = {}
    for each in wanted:
        for term in each.terms:
            weights[term.text] = max(weights.get(term.text, 0.0), term.weight)
    return [Term(text, weight) for text, weight in weights.items()]


def as_meant(query: str, wanted: Sequence[Wanted]) -> str:
    """The query with mistyped words as they were likeliest meant; itself where none is."""
    meant = {each.typed: _likeliest(each) for each in wanted if each.is_corrected}

    def word(found: re.Match[str]) -> str:
        typed = terms(found.group())
        # Writing without spaces gives several terms, of which none is a word by itself.
        return meant.get(typed[0], found.group()) if len(typed) == 1 else found.group()

    return _WORD.sub(word, query) if meant else query


def _likeliest(wanted: Wanted) -> str:
    """What an unknown word is read as: the first of its rivals, or all of its parts."""
    texts = [term.text for term in wanted.terms]
    return " ".join(texts) if "".join(texts) == wanted.typed else texts[0]


def _meant(typed: str, index: LexicalIndex, words: WordList) -> list[Term]:
    if not may_be_mistyped(typed):
        return []
    near = [
        (
            float(np.log1p(index.count(word)))
            - AN_ERROR * errors
            + SAME_START * (word[0] == typed[0]),
            word,
            errors,
        )
        for word, errors in words.nearby(typed)
    ]
    if near:
        near.sort(key=lambda each: (-each[0], each[1]))
        likeliest = near[0][0]
        return [
            Term(word, ERROR_WEIGHT**errors)
            for odds, word, errors in near[:MEANT]
            if odds >= likeliest - AS_LIKELY
        ]
    if parts := _parts(typed, index):
        return [Term(part, PART_WEIGHT) for part in parts]
    longer = sorted(words.beginning_with(typed), key=lambda word: (-index.count(word), word))
    return [Term(word, START_WEIGHT) for word in longer[:MEANT]]


def _parts(typed: str, index: LexicalIndex) -> tuple[str, str] | None:
    """The two words that were written as one, the likeliest where there are several."""
    best, least = None, 0
    for at in range(2, len(typed) - 1):
        parts = typed[:at], typed[at:]
        count = min(index.count(part) for part in parts)
        if count > least:
            best, least = parts, count
    return best
