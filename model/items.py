"""The catalogue's wire contract: a JSON object per item, keyed by id; a null value removes it."""

import math
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from model.events import MAX_TIME_MS, ContractError, check_id

MAX_ITEM_BYTES = 64 * 1024
"""Sixteen times a long shop record."""


Created: TypeAlias = Annotated[
    int | datetime,
    Meta(description="Since when there is the item: RFC 3339 with offset, or epoch milliseconds."),
]


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item of the catalogue. ``category`` runs from general to special (department, aisle)."""

    item_id: str
    title: str = ""
    category: tuple[str, ...] = ()
    brand: str | None = None
    price: float | None = None
    available: bool = True
    tags: tuple[str, ...] = ()
    stock: float | None = None
    created: Created | None = None

    @property
    def created_ms(self) -> int | None:
        """Since when there is the item, epoch milliseconds."""
        created = self.created
        return math.floor(created.timestamp() * 1000) if isinstance(created, datetime) else created


_decoder = msgspec.json.Decoder(Item)
_encoder = msgspec.json.Encoder()


def decode_item(data: bytes) -> Item:
    """Decode and check one catalogue record.

    Raises:
        ContractError: with a reason and a sentence, when the record breaks the contract.
    """
    if len(data) > MAX_ITEM_BYTES:
        raise ContractError("too_large", f"an item of {len(data)} bytes; at most {MAX_ITEM_BYTES}")
    try:
        item = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ContractError("invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError("malformed_json", str(error)) from None
    check_id("item_id", item.item_id)
    return item if item.created is None else _with_checked_time(item, item.created)


def encode_item(item: Item) -> bytes:
    """The JSON bytes of an item."""
    return _encoder.encode(item)


def _with_checked_time(item: Item, created: int | datetime) -> Item:
    """The same item, whose time is in epoch milliseconds."""
    if isinstance(created, datetime) and created.tzinfo is None:
        raise ContractError("invalid", "`created` has no offset; write 2026-01-31T12:00:00Z")
    milliseconds = item.created_ms
    if milliseconds is None or not 0 <= milliseconds < MAX_TIME_MS:
        raise ContractError(
            "time_range", f"`created` is {created}; expected epoch milliseconds from 1970 on"
        )
    return item if milliseconds == created else msgspec.structs.replace(item, created=milliseconds)
