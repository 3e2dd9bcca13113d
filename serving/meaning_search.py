"""Rows whose texts are alike to a query in meaning, by an encoder's vectors."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.text_encoder import TextEncoder
from serving import metrics
from serving.text_vectors import TextVectors
from serving.vector_cache import VectorCache

CACHED_QUERIES = 10_000
"""Vectors of 1.5 KB at most: 15 MB."""
AT_ONCE = 64
"""Distinct texts that an encoder is given at once."""
_Waiting: TypeAlias = tuple[str, list[int]]
"""A text, and the rows that have it."""


class MeaningSearch:
    """An encoder, and the vectors of all rows that it has encoded so far.

    Args:
        encoder: of texts.
        cache: of its vectors on disk, None to make all anew.
    """

    def __init__(self, encoder: TextEncoder, cache: VectorCache | None = None) -> None:
        self.encoder = encoder
        self.vectors = TextVectors(encoder.dimensions)
        self._cache = cache
        # By text: in a shop's catalogue many items say the same.
        self._pending: dict[str, list[int]] = {}
        self._noted = asyncio.Event()
        self._queries: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        # Searches are made in several threads.
        self._turn = Lock()

    def add(self, row: int, text: str) -> None:
        """Note the text of a new row; it is found after ``encode_pending``."""
        self._pending.setdefault(text, []).append(row)
        self._noted.set()

    async def noted(self) -> None:
        """Return once there are rows that are not found yet."""
        await self._noted.wait()

    @property
    def pending(self) -> int:
        """Rows that are not found yet."""
        return sum(map(len, self._pending.values()))

    async def encode_pending(self) -> None:
        """Make noted rows findable, in a thread, in small batches.

        Raises:
            serving.vector_cache.VectorCacheError: the cache cannot be written.
        """
        while self._pending:
            waiting = self._taken()
            # Each worker in an order of its own, so that they find one another's work in the cache.
            random.shuffle(waiting)
            for start in range(0, len(waiting), AT_ONCE):
                try:
                    await asyncio.to_thread(self._encode, waiting[start : start + AT_ONCE])
                except BaseException:
                    for text, rows in waiting[start:]:
                        self._pending.setdefault(text, []).extend(rows)
                    self._noted.set()
                    raise

    def encode_all(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """The same here and now, for who has nothing else to do; tells the share that is done."""
        waiting = self._taken()
        for start in range(0, len(waiting), AT_ONCE):
            self._encode(waiting[start : start + AT_ONCE])
            progress(min(1.0, (start + AT_ONCE) / len(waiting)))

    def query_vectors(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """The vector of each of Q queries [Q, D], made once for each distinct one."""
        held, distinct = self._queries, dict.fromkeys(queries)
        with self._turn:
            known = {query: held[query] for query in distinct if query in held}
        if fresh := [query for query in distinct if query not in known]:
            known.update(zip(fresh, self.encoder.queries(fresh), strict=True))
        with self._turn:
            for query, vector in known.items():
                held[query] = vector
                held.move_to_end(query)
            while len(held) > CACHED_QUERIES:
                held.popitem(last=False)
        return np.stack([known[query] for query in queries])

    def _taken(self) -> list[_Waiting]:
        waiting, self._pending = self._pending, {}
        self._noted.clear()
        return list(waiting.items())

    def _encode(self, waiting: Sequence[_Waiting]) -> None:
        texts = [text for text, _ in waiting]
        vectors = np.empty((len(texts), self.encoder.dimensions), np.float32)
        known = np.zeros(len(texts), np.bool_)
        if self._cache is not None:
            known, cached = self._cache.get(texts)
            vectors[known] = cached
        metrics.TEXT_READS.labels("held").inc(int(known.sum()))
        metrics.TEXT_READS.labels("encoded").inc(int((~known).sum()))
        if not known.all():
            fresh = [text for text, is_known in zip(texts, known, strict=True) if not is_known]
            # As the cache keeps them, so that all workers have the same.
            made = self.encoder.items(fresh).astype(np.float16).astype(np.float32)
            vectors[~known] = made
            if self._cache is not None:
                self._cache.put(fresh, made)
        rows = [row for _, rows in waiting for row in rows]
        sizes = [len(rows) for _, rows in waiting]
        which = np.repeat(np.arange(len(sizes)), sizes)
        self.vectors.put(np.array(rows, np.int64), vectors, which)
