"""Items like an item: those seen together with it, and those whose vectors in the network are near.

Both are proposals; an item of both stands before an item of one at the same places (reciprocal rank
fusion: Cormack, Clarke and Büttcher, 2009).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from model.features import FIRST_ITEM
from model.ids import item_hash
from model.item_vectors import shared_item_vectors
from serving.parts import Parts

Likeness: TypeAlias = Literal["together", "vectors"]
LIKENESSES: tuple[Likeness, ...] = get_args(Likeness)

FUSION_RANK = 60
"""As in the paper: how little the first places count more than the next ones."""
REACH = 256
"""Nearest items looked at, of which some may not be recommended now."""
KEPT = 4_096
"""Items whose nearest are remembered: 256 of 12 bytes each, 13 MB."""
FAR = -np.inf
BLOCK = 65_536
"""Rows whose lengths are found at once."""


class SimilarItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An item that is like another one."""

    item_id: str
    rank: Annotated[int, Meta(ge=1)]
    sources: Annotated[
        tuple[Likeness, ...],
        Meta(
            description="`together`: users deal with both within half an hour; `vectors`: the "
            "network has learned that they are alike."
        ),
    ]
    together: Annotated[float, Meta(description="Co-visits, decayed to the present.")] | None = None
    cosine: Annotated[float, Meta(ge=-1.001, le=1.001)] | None = None
    title: str = ""


class SimilarItems(msgspec.Struct, frozen=True, gc=False):
    """What is like an item, the most similar first."""

    item_id: str
    bundle: str
    items: tuple[SimilarItem, ...]


class Similar:
    """Finds what is like an item.

    Args:
        parts: gives those of a worker: another generation may be live by the next look.
    """

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts_now = parts
        self._near: OrderedDict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = OrderedDict()
        self._looking = asyncio.Lock()
        self._width = 0

    @property
    def _parts(self) -> Parts:
        return self._parts_now()

    async def of(
        self, item_id: str, count: int, by: tuple[Likeness, ...] = LIKENESSES
    ) -> SimilarItems | None:
        """At most ``count`` items that may be recommended now; None of an item nobody knows.

        Raises:
            redis.RedisError, serving.store.StoreError: Redis could not do its part.
            model.bundle.BundleError: the graph has no item vectors to be found.
        """
        catalog = self._parts.catalog
        row = catalog.row_of(item_id)
        if row < 0:
            return None
        together = await self._together(item_id) if "together" in by else {}
        near = await self._nearest(row) if "vectors" in by else {}
        fused: dict[int, float] = {}
        for found in (together, near):
            for place, other in enumerate(found):
                fused[other] = fused.get(other, 0.0) + 1 / (FUSION_RANK + 1 + place)
        fused.pop(row, None)
        best = sorted(fused, key=lambda other: (-fused[other], other))[:count]
        items = tuple(
            SimilarItem(
                item_id=catalog.items[other].item_id,
                rank=rank,
                sources=tuple(
                    name
                    for name, found in zip(LIKENESSES, (together, near), strict=True)
                    if other in found
                ),
                together=together.get(other),
                cosine=near.get(other),
                title=catalog.items[other].title,
            )
            for rank, other in enumerate(best, start=1)
        )
        return SimilarItems(item_id, self._parts.bundle.manifest.version, items)

    async def _together(self, item_id: str) -> dict[int, float]:
        """Decayed co-visits by row, strongest first."""
        parts = self._parts
        (found,) = await parts.counts.neighbours([item_hash(item_id)])
        rows = parts.catalog.rows_of_hashes(found.items)
        weights = found.weights / parts.counts.weight(parts.now_ms())
        may = parts.catalog.usable(rows)
        return {
            row: round(weight, 6)
            for row, weight in zip(rows[may].tolist(), weights[may].tolist(), strict=True)
        }

    async def _nearest(self, row: int) -> dict[int, float]:
        """Cosines by row, nearest first; nothing for an item that the network has not learned."""
        catalog = self._parts.catalog
        model_row = int(catalog.model_rows[row])
        if model_row < FIRST_ITEM:
            return {}
        found = self._near.get(model_row)
        if found is None:
            # One at a time: of a million items it takes a while, and all of the memory's speed.
            async with self._looking:
                found = await asyncio.to_thread(self._look, model_row)
            self._near[model_row] = found
            if len(self._near) > KEPT:
                self._near.popitem(last=False)
        self._near.move_to_end(model_row)
        rows = catalog.rows_of_model(found[0])
        may = catalog.usable(rows)
        return {
            other: round(cosine, 6)
            for other, cosine in zip(rows[may].tolist(), found[1][may].tolist(), strict=True)
        }

    def _look(self, model_row: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        vectors, lengths = self._vectors
        wanted = np.zeros(vectors.shape[1], np.float32)
        # A column behind the vectors, if there is one, says nothing of likeness.
        wanted[: self._width] = vectors[model_row, : self._width]
        cosines = vectors @ wanted / (lengths * lengths[model_row])
        cosines[:FIRST_ITEM] = cosines[model_row] = FAR
        reach = min(REACH, len(cosines) - FIRST_ITEM - 1)
        if reach <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        best = np.argpartition(-cosines, reach - 1)[:reach]
        best = best[np.lexsort((best, -cosines[best]))]
        return best, cosines[best]

    @cached_property
    def _vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 [V, at least D] and their lengths [V], read when they are asked for first."""
        vectors, self._width = shared_item_vectors(self._parts.bundle)
        lengths = np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), BLOCK):
            here = slice(start, start + BLOCK)
            lengths[here] = np.linalg.norm(vectors[here, : self._width], axis=1)
        return vectors, np.maximum(lengths, np.float32(1e-12))
