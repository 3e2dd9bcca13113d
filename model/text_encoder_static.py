"""Vectors of letters: texts whose words look alike are alike. Needs no download.

A word is the sum of random directions of itself and of its runs of two to four letters, after
fastText (Bojanowski et al., "Enriching Word Vectors with Subword Information", 2017) without
training: a random projection of the runs (Achlioptas, "Database-friendly Random Projections",
2003), whose signs come out of a hash. A text is the sum of its words.
"""

from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from model.search_terms import terms
from model.text_encoder import unit

DIMENSIONS = 256
RUNS = 2, 3, 4
KEPT_WORDS = 50_000
"""Words whose vectors are kept: 50 MB, and nearly all that a catalogue's titles repeat."""


class StaticEncoder:
    """See ``model.text_encoder.TextEncoder``."""

    name = "static"
    identity = f"static-1-{DIMENSIONS}"
    dimensions = DIMENSIONS
    is_quick = True
    share = 0.35

    def __init__(self) -> None:
        # Items are encoded in one thread, queries in others.
        self._turn = Lock()
        self._places: dict[str, int] = {}
        self._words = np.zeros((1024, DIMENSIONS), np.float32)

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched."""
        words = [terms(text) for text in texts]
        sizes = np.array([len(each) for each in words], np.int64)
        sums = np.zeros((len(texts), DIMENSIONS), np.float32)
        if sizes.sum():
            with self._turn:
                places = self._rows([word for each in words for word in each])
                found = self._words[places]
            starts = np.cumsum(sizes) - sizes
            some = sizes > 0
            sums[some] = np.add.reduceat(found, starts[some])
        return unit(sums)

    queries = items

    def _rows(self, words: list[str]) -> list[int]:
        places = self._places
        fresh = [word for word in dict.fromkeys(words) if word not in places]
        if len(places) + len(fresh) > KEPT_WORDS:
            places.clear()
            fresh = list(dict.fromkeys(words))
        while len(places) + len(fresh) > len(self._words):
            self._words = np.concatenate([self._words, np.zeros_like(self._words)])
        if fresh:
            self._words[len(places) : len(places) + len(fresh)] = _vectors(fresh)
            places.update(zip(fresh, range(len(places), len(places) + len(fresh)), strict=True))
        return [places[word] for word in words]


def _vectors(words: list[str]) -> NDArray[np.float32]:
    """The vector of each of N words, float32 [N, D]."""
    features, sizes = [], []
    for word in words:
        runs = _runs(word)
        features += [word, *runs]
        sizes.append(1 + len(runs))
    digests = b"".join(blake2b(each.encode(), digest_size=DIMENSIONS // 8).digest()
                       for each in features)  # fmt: skip
    bits = np.unpackbits(np.frombuffer(digests, np.uint8)).reshape(len(features), DIMENSIONS)
    sums = np.concatenate([np.zeros((1, DIMENSIONS), np.int32), np.cumsum(bits, 0, np.int32)])
    ends = np.cumsum(sizes)
    firsts = ends - sizes
    counts = np.array(sizes, np.int32)[:, None] - 1
    of_words = bits[firsts].astype(np.float32) * 2 - 1
    of_runs = (sums[ends] - sums[firsts + 1]) * 2 - counts
    return unit(of_words + (of_runs / np.sqrt(np.maximum(counts, 1))).astype(np.float32))


def _runs(word: str) -> list[str]:
    if len(word) <= 2:
        return []
    bounded = f"<{word}>"
    return [bounded[at : at + length] for length in RUNS for at in range(len(bounded) - length + 1)]
