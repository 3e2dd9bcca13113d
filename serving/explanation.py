"""A list taken to pieces: where the score of each item comes from, and what each item of the user's
contributes to it, found out by removing it."""

import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend
from serving.contributions import DIGITS
from serving.leave_one_out import Removals, every_item, look_at, losses, rows_listed
from serving.list_request import ListRequest, RequestTable
from serving.parts import Parts
from serving.recommend import recommend_request, request_now
from serving.recommendation import Recommendation

PARTS = (*(name for name in Signals.__struct_fields__ if name != "rows"), "unknown")
PART_NAMES = {"covisit": "together"}
"""Parts of the blend that go by the name of their source."""


class Loss(msgspec.Struct, frozen=True, gc=False):
    """An item of the user's, and what a listed item's score loses without it."""

    item_id: str | None
    """None where the catalogue does not have it, and nobody knows its id."""
    title: str
    amount: float
    """Less than 0: the item speaks against the listed one."""


class ExplainedItem(msgspec.Struct, frozen=True, gc=False):
    """An item of a list, taken to pieces."""

    item_id: str
    title: str
    parts: dict[str, float]
    """Terms of the blend; they add up to the score."""
    match: float
    """Share of the query that the item covers, by which items stand before the blend decides."""
    losses: tuple[Loss, ...]
    """Of every item of the profile whose removal changes the score, the greatest first."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A list of this moment, and how it came about."""

    list: Recommendation
    """As it would be published."""
    is_known: bool
    """Whether there is a profile; else this is the list of somebody new."""
    interactions: int
    searches: int
    purchases: int
    """What the profile holds, the query of this list included."""
    items: tuple[ExplainedItem, ...]
    explain_ms: float
    """Milliseconds it took to take the list to pieces."""


async def explain_user(parts: Parts, user_id: str, query: str | None = None) -> Explanation:
    """The list of ``serving.recommend.recommend_user``, explained. Raises as that does."""
    steps: dict[str, float] = {}
    request = await request_now(parts, user_id, query, steps)
    made = await recommend_request(parts, request, steps)
    start = time.perf_counter()
    items = await _explained(parts, request, made)
    profile = request.profile
    return Explanation(
        list=made,
        is_known=request.is_known,
        interactions=len(profile.history().items),
        searches=len(profile.searches()),
        purchases=len(profile.bought().items),
        items=items,
        explain_ms=round((time.perf_counter() - start) * 1000, 3),
    )


async def _explained(
    parts: Parts, request: ListRequest, made: Recommendation
) -> tuple[ExplainedItem, ...]:
    asked = RequestTable([request])
    listed, removals = rows_listed(parts, [made.items]), every_item(asked)
    if not listed.size:
        return ()
    known = await look_at(parts, asked, listed)
    terms = blend_parts(parts.bundle.manifest.blend, known.signals)
    lost = await losses(parts, asked, listed, removals)
    return tuple(
        ExplainedItem(
            item_id=item.item_id,
            title=_title(parts, item.item_id),
            parts={name: _rounded(term[0, at]) for name, term in terms.items()},
            match=_rounded(known.match[0, at]),
            losses=_losses(parts, removals, lost[:, at]),
        )
        for at, item in enumerate(made.items)
    )


def blend_parts(weights: BlendWeights, signals: Signals) -> dict[str, NDArray[np.float32]]:
    """What each signal adds to the score, of the signals' shape; without those of weight 0."""
    whole = blend(weights, signals)
    parts = {}
    for name in PARTS:
        if getattr(weights, name):
            without = blend(msgspec.structs.replace(weights, **{name: 0.0}), signals)
            parts[PART_NAMES.get(name, name)] = whole - without
    return parts


def _losses(parts: Parts, removals: Removals, amounts: NDArray[np.float32]) -> tuple[Loss, ...]:
    rows = parts.catalog.rows_of_hashes(removals.items).tolist()
    found = [
        Loss(None if row < 0 else (item := parts.catalog.items[row]).item_id,
             "" if row < 0 else item.title, _rounded(amount))
        for row, amount in zip(rows, amounts.tolist(), strict=True)
    ]  # fmt: skip
    return tuple(
        sorted((each for each in found if each.amount), key=lambda each: each.amount, reverse=True)
    )


def _title(parts: Parts, item_id: str) -> str:
    found = parts.catalog.get(item_id)
    return "" if found is None else found.title


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
