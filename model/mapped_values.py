"""Values of foreign rows as values of our contracts: texts, numbers, lists and times."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

Convert: TypeAlias = Callable[[Any], Any]
"""Raises ValueError, with what was expected, where a value is none."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LIST_SEPARATOR = "|"
"""Between members of a list that is one text, as in our own CSV files."""
_PER_MILLISECOND = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}
_DATE_AND_TIME = "%Y-%m-%d %H:%M:%S"
_DATE_AND_TIME_LENGTH = 19


class MappingError(ValueError):
    """A mapping cannot be used; the message names it and the key, and says what to do."""


def is_absent(value: object) -> bool:
    """Whether a value stands for none: null, an empty text, or a table's "not a number"."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def text_of(value: object) -> str:
    """A scalar as text: the same of `5`, `5.0` and `"5"`. Raises ValueError for any other."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    raise ValueError("expected a text")


def number_of(value: object) -> float | int:
    """Raises ValueError for what is no finite number."""
    if isinstance(value, str | Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number")
    return value


def integer_of(value: object) -> int:
    """Raises ValueError for what is no whole number."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass  # it may still be 5.0
    number = number_of(value)
    if number != int(number):
        raise ValueError("expected a whole number")
    return int(number)


def boolean_of(value: object) -> bool:
    """Raises ValueError for what is neither true nor false."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return known[text_of(value).lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def list_of(split: str | None) -> Convert:
    """To a list of texts: what is one, or a text with ``split`` (`|`) between members."""
    separator = split or LIST_SEPARATOR

    def convert(value: object) -> list[str]:
        if isinstance(value, list | tuple):
            return [text_of(each) for each in value if not is_absent(each)]
        members = [each.strip() for each in text_of(value).split(separator)]
        return [each for each in members if each]

    return convert


def object_of(value: object) -> dict[str, Any]:
    """What is an object, or the JSON text of one. Raises ValueError for any other."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            raise ValueError("expected an object") from None
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def any_of(value: object) -> Any:
    """What may be an attribute of a user: a scalar, or a list of texts."""
    return list_of(None)(value) if isinstance(value, list | tuple) else value


def time_of(unit: str | None, zone: str | None) -> Convert:
    """To epoch milliseconds.

    Args:
        unit: of numbers, `iso`, or a format; None: milliseconds or ISO text, whichever it is.
        zone: of times that name none; None: UTC.

    Raises:
        MappingError: there is no such unit or zone.
    """
    if unit is not None and unit not in _PER_MILLISECOND and unit != "iso" and "%" not in unit:
        raise MappingError(
            f"there is no time {unit!r}; write s, ms, us, ns, iso or a format such as "
            f"{_DATE_AND_TIME!r}"
        )
    return _Time(unit, _zone(zone))


class _Time:
    """One way to write times."""

    def __init__(self, unit: str | None, zone: tzinfo) -> None:
        self._zone = zone
        self._per_millisecond = _PER_MILLISECOND.get(unit or "ms")
        self._is_text = unit is None or unit == "iso"
        self._format = unit if unit and "%" in unit else ""
        head, plain, tail = self._format.partition(_DATE_AND_TIME)
        # Many times as fast as strptime, and what most logs with a format have.
        self._tail = tail if plain and not head and "%" not in tail else None

    def __call__(self, value: object) -> int:
        """Epoch milliseconds. Raises ValueError, OverflowError."""
        if isinstance(value, datetime):
            return self._of_moment(value)
        if isinstance(value, date):
            return self._of_moment(datetime(value.year, value.month, value.day))
        if self._format:
            return self._of_moment(self._parsed(text_of(value)))
        if self._per_millisecond is not None:
            try:
                return self._of_number(value)
            except ValueError:
                if not self._is_text or not isinstance(value, str):
                    raise
        return self._of_moment(datetime.fromisoformat(text_of(value).strip()))

    def _of_number(self, value: object) -> int:
        per = self._per_millisecond
        assert per is not None
        try:
            # Whole numbers stay exact, however large.
            whole = int(value) if isinstance(value, str) else value
        except ValueError:
            whole = number_of(value)
        if isinstance(whole, int) and not isinstance(whole, bool):
            return whole * 1000 if per < 1 else whole // int(per)
        number = number_of(whole)
        return round(number * 1000) if per < 1 else math.floor(number / per)

    def _parsed(self, text: str) -> datetime:
        tail = self._tail
        if tail is None:
            return datetime.strptime(text, self._format)
        if len(text) != _DATE_AND_TIME_LENGTH + len(tail) or not text.endswith(tail):
            raise ValueError(f"expected a time like {self._format!r}")
        return datetime.fromisoformat(text[:_DATE_AND_TIME_LENGTH])

    def _of_moment(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return (moment - EPOCH) // MILLISECOND


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise MappingError(
            f"there is no time zone {name!r} here; write one such as Europe/Berlin, and install "
            "the package tzdata where the system has no zones"
        ) from None


_encoder = msgspec.json.Encoder(order="sorted")


def canonical(row: Mapping[str, Any]) -> bytes:
    """The content of a row as bytes, whatever the order of its columns and the types of its cells.

    Raises UnicodeEncodeError, TypeError or OverflowError where it cannot be written.
    """
    return _encoder.encode(_canonical(row))


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items() if not is_absent(each)}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    if value is None:
        return None
    try:
        return text_of(value)
    except ValueError:
        return value
