"""What comes of lists: impressions, clicks, carts and purchases, joined to what caused them.

Of each list its user was given within the attribution window Redis remembers the items and their
sources, beside the user's last list and bounded like it (``feedback.lua``). An event that names a
list by ``rec_id`` is joined to that one; a cart or purchase that names none, to the newest list in
which the user has clicked the item. Of several events that tell the same of an item the first
counts, and it counts again whenever its own record comes again: the shared counts
(``serving.counts``) leave out what they have, so that each is counted once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from model.events import Cart, Click, Event, Impression, Purchase
from model.ids import ITEM_HASH_BYTES, item_hash
from serving import metrics
from serving.recommendation import SOURCE_BIT, SOURCES_OF_BITS, Recommendation, Source

if TYPE_CHECKING:
    from serving.store import Store

Kind: TypeAlias = Literal["impression", "click", "cart", "purchase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""By number, as they are stored."""
MOST_SHOWN = 100
"""Metrics tell no positions apart beyond: a list has at most as many items."""
_REC_ID_BYTES = 16
_ANY_LIST = bytes(_REC_ID_BYTES)
_TOLD = np.dtype([("position", ">u2"), ("sources", "u1"), ("item", f"V{ITEM_HASH_BYTES}")])
_MOST_ITEMS = 255


class FeedbackEvent(Struct, frozen=True, gc=False):
    """An event that may have come of a list."""

    user_id: str
    kind: int
    """Place among ``KINDS``."""
    rec_id: bytes
    """Of the list; zeros for the newest one in which the item was clicked."""
    items: Sequence[str]
    """In the order in which they were shown."""
    time: int
    origin: bytes
    """Of the record, as profiles keep it."""
    source: str
    """Name of the record's partition."""
    offset: int

    @property
    def names_list(self) -> bool:
        """Whether it says which list it came of."""
        return self.rec_id != _ANY_LIST


class Response(Struct, frozen=True, gc=False):
    """What one event tells of items of one list, for the first time: three arrays [N]."""

    event: FeedbackEvent
    bundle: str
    """Version of the bundle that made the list."""
    positions: NDArray[np.int64]
    """At which the items were shown, from 1."""
    sources: NDArray[np.uint8]
    """Bits of ``Origin``."""
    items: NDArray[np.uint64]
    """Hashes."""


def feedback_of(event: Event, origin: bytes, source: str, offset: int) -> FeedbackEvent | None:
    """What an event tells of a list; None where it tells nothing of any."""
    match event:
        case Impression(rec_id=rec_id, item_ids=items):
            kind = 0
        case Click(rec_id=str(rec_id), item_id=item):
            kind, items = 1, (item,)
        case Cart(rec_id=rec_id, item_id=item):
            kind, items = 2, (item,)
        case Purchase(rec_id=rec_id, item_id=item):
            kind, items = 3, (item,)
        case _:
            return None
    packed = _ANY_LIST if rec_id is None else _packed_rec_id(rec_id)
    if packed is None:
        return None
    return FeedbackEvent(event.user_id, kind, packed, items, event.time, origin, source, offset)


def _packed_rec_id(rec_id: str) -> bytes | None:
    """The bytes of a list's id; None where it is none of ours."""
    try:
        packed = bytes.fromhex(rec_id)
    except ValueError:
        return None
    return packed if len(packed) == _REC_ID_BYTES and packed != _ANY_LIST else None


def pack_shown(made: Recommendation) -> bytes:
    """What is remembered of a list, see ``feedback.lua``."""
    items = made.items[:_MOST_ITEMS]
    return b"".join(
        (
            bytes.fromhex(made.rec_id), made.ts.to_bytes(6, "big"), _packed_bundle(made.bundle),
            bytes((len(items),)), *map(_packed_item, [each.item_id for each in items]),
            bytes(map(_bits, [each.sources for each in items])),
        )
    )  # fmt: skip


@lru_cache(maxsize=16)
def _packed_bundle(version: str) -> bytes:
    encoded = version.encode()[:255]
    return bytes((len(encoded),)) + encoded


@lru_cache(maxsize=1 << 16)
def _packed_item(item_id: str) -> bytes:
    return item_hash(item_id).to_bytes(ITEM_HASH_BYTES, "big")


@lru_cache(maxsize=1 << 10)
def _bits(sources: tuple[Source, ...]) -> int:
    return sum(SOURCE_BIT[source] for source in sources)


async def attribute(store: "Store", events: Sequence[FeedbackEvent]) -> list[Response]:
    """Join events to lists, in one trip; those that fit none, or tell nothing new, are left out.

    Raises:
        What ``Store.run`` raises.
    """
    of_user: dict[str, list[FeedbackEvent]] = {}
    for event in events:
        of_user.setdefault(event.user_id, []).append(event)
    window = store.attribution_ms
    calls: list[tuple[Any, ...]] = [
        ("attribute", 1, store.keys(user).last_list, window, b"".join(map(_packed, own)))
        for user, own in of_user.items()
    ]
    replies = await store.run(calls)
    responses: list[Response] = []
    for own, answers in zip(of_user.values(), replies, strict=True):
        for event, answer in zip(own, answers, strict=True):
            if (response := _response(event, answer)) is not None:
                responses.append(response)
    return responses


def observe_feedback(responses: Sequence[Response]) -> None:
    """Show responses that have been counted in this worker's metrics."""
    for each in responses:
        kind = KINDS[each.event.kind]
        for position, bits in zip(each.positions.tolist(), each.sources.tolist(), strict=True):
            for source in SOURCES_OF_BITS[bits]:
                at = str(min(position, MOST_SHOWN))
                metrics.FEEDBACK.labels(kind, source, at, each.bundle).inc()


def _packed(event: FeedbackEvent) -> bytes:
    return b"".join(
        [
            bytes((event.kind,)), event.origin, event.time.to_bytes(6, "big"), event.rec_id,
            len(event.items).to_bytes(2, "big"), *map(_packed_item, event.items),
        ]
    )  # fmt: skip


def _response(event: FeedbackEvent, answer: bytes) -> Response | None:
    if not answer:
        if event.names_list:
            metrics.UNATTRIBUTED.labels(KINDS[event.kind]).inc()
        return None
    end = 1 + answer[0]
    told = np.frombuffer(answer, _TOLD, offset=end)
    if not len(told):
        return None
    hashes = np.zeros((len(told), 8), np.uint8)
    hashes[:, 2:] = np.ascontiguousarray(told["item"]).view(np.uint8).reshape(-1, ITEM_HASH_BYTES)
    return Response(
        event,
        answer[1:end].decode(),
        told["position"].astype(np.int64),
        told["sources"].copy(),
        hashes.view(">u8").ravel().astype(np.uint64),
    )
