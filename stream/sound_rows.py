"""Which rows of a table ``decode_event`` would take, by columns: a proven shortcut, no rule of its
own. What is not sound by it may well be an event; only ``decode_event`` refuses."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa
from pyarrow import compute as pc

from model.contract_fields import EVENT_CONTRACTS
from model.events import (
    MAX_EVENT_BYTES,
    MAX_FUTURE_MS,
    MAX_ID_BYTES,
    MAX_QUERY_CHARACTERS,
    MAX_TIME_MS,
)

Array: TypeAlias = Any

OF_AN_ITEM = ("click", "cart", "purchase", "favorite")
REQUIRED = ("type", "event_id", "user_id", "ts")


def sound_rows(batch: Any, data: Array, is_whole: Array, now_ms: int) -> Array:
    """Which rows are events for certain.

    Args:
        batch: rows under the names of the contract, valid UTF-8.
        data: the JSON of each (`stream.event_json.json_columns`).
        is_whole: of which rows ``data`` is that.
        now_ms: the present, epoch milliseconds.

    Returns:
        A truth value for each row.
    """
    names = batch.schema.names
    if len({*names}) < len(names) or not {*REQUIRED} <= {*names}:
        return pa.repeat(pa.scalar(False), len(batch))
    newest = min(now_ms + MAX_FUTURE_MS, MAX_TIME_MS - 1)
    sound = pc.and_(is_whole, pc.less_equal(pc.binary_length(data), MAX_EVENT_BYTES))
    for name, column in zip(names, batch.columns, strict=True):
        if column.null_count == len(column):
            check = None
        elif name == "ts":
            check = _between(column, 0, newest) if pa.types.is_integer(column.type) else False
        else:
            check = _CHECKS.get(name, _absent)(column)
        if check is False:
            return pa.repeat(pa.scalar(False), len(batch))
        if check is not None:
            sound = pc.and_(sound, pc.fill_null(check, True))
    for name in REQUIRED:
        sound = pc.and_(sound, pc.is_valid(batch.column(name)))
    kinds = batch.column("type")
    is_fit = pa.repeat(pa.scalar(False), len(batch))
    for field, of_it in (("item_id", OF_AN_ITEM), ("query", ("search",))):
        if field in names:
            is_kind = pc.is_in(kinds, pa.array(of_it, kinds.type))
            is_fit = pc.or_(is_fit, pc.and_(is_kind, pc.is_valid(batch.column(field))))
    return pc.and_(sound, is_fit)


CONTRACT_FIELDS = frozenset(
    {"type", *(name.partition(".")[0] for each in EVENT_CONTRACTS.values() for name in each)}
)
"""Names of all fields that an event may have."""


def _between(column: Array, low: int, high: int) -> Array:
    return pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))


def _is_text(column: Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _absent(column: Array) -> Array:
    return pc.is_null(column, nan_is_null=True)


def _id(column: Array) -> Array:
    if not _is_text(column):
        return _absent(column)
    return _between(pc.binary_length(column), 1, MAX_ID_BYTES)


def _query(column: Array) -> Array:
    if not _is_text(column):
        return _absent(column)
    return _between(pc.utf8_length(column), 1, MAX_QUERY_CHARACTERS)


def _text(column: Array) -> Array:
    return pc.or_(_absent(column), pa.scalar(_is_text(column)))


def _count(column: Array) -> Array:
    return pc.greater_equal(column, 0) if pa.types.is_integer(column.type) else _absent(column)


def _is_number(column: Array) -> bool:
    kind = column.type
    return any(
        is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_float32, pa.types.is_float64)
    )


def _price(column: Array) -> Array:
    if not _is_number(column):
        return _absent(column)
    return pc.or_(_absent(column), pc.greater_equal(column, 0))


def _quantity(column: Array) -> Array:
    if not _is_number(column):
        return _absent(column)
    return pc.or_(_absent(column), pc.greater(column, 0))


def _truth(column: Array) -> Array:
    return pc.or_(_absent(column), pa.scalar(bool(pa.types.is_boolean(column.type))))


_CHECKS: dict[str, Callable[[Array], Array]] = {
    "type": _text,
    "event_id": _id,
    "user_id": _id,
    "item_id": _id,
    "session_id": _text,
    "rec_id": _text,
    "query": _query,
    "dwell_ms": _count,
    "position": _count,
    "price": _price,
    "quantity": _quantity,
    "generated": _truth,
}
