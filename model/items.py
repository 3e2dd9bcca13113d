"""The catalogue's wire contract: a JSON object per item, keyed by id; a null value removes it."""

import msgspec

from model.events import ContractError, check_id

MAX_ITEM_BYTES = 64 * 1024
"""Sixteen times a long shop record."""


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item of the catalogue. ``category`` runs from general to special (department, aisle)."""

    item_id: str
    title: str = ""
    category: tuple[str, ...] = ()
    brand: str | None = None
    price: float | None = None
    available: bool = True


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
    return item


def encode_item(item: Item) -> bytes:
    """The JSON bytes of an item."""
    return _encoder.encode(item)
