"""Who a user is, beside what he does: the newest value of each attribute, country, device. Pure.

A record is 14 bytes: time u48 ms | name u16 | value u48. Of each name the newest record is kept,
and of the attributes the newest eight names (last writer wins; Shapiro et al., "A Comprehensive
Study of Convergent and Commutative Replicated Data Types", 2011). Records of one time are told
apart by their bytes, so that a section is a function of the set of records: neither order nor
copies nor batches matter.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

from model.events import EventBase, User

TIME_BYTES, NAME_BYTES, VALUE_BYTES = 6, 2, 6
TRAIT_BYTES = TIME_BYTES + NAME_BYTES + VALUE_BYTES
COUNTRY, DEVICE = b"\0\0", b"\0\1"
"""Names that no attribute has."""
MOST_ATTRIBUTES = 8
MOST_TRAITS = MOST_ATTRIBUTES + 2
NO_VALUE = bytes(VALUE_BYTES)
"""Of an attribute that was taken back with ``null``."""

_NAME = slice(TIME_BYTES, TIME_BYTES + NAME_BYTES)
_CONTEXT = frozenset((COUNTRY, DEVICE))


def pack_traits(event: EventBase) -> bytes:
    """The records of an event's context and of a ``user`` event's attributes, as a section."""
    context, time = event.context, event.time.to_bytes(TIME_BYTES, "big")
    packed = b""
    if context is not None:  # of nearly every event, where a shop says it at all
        if context.device:
            packed = time + DEVICE + _device_hash(context.device)
        if context.country:
            packed += time + COUNTRY + place_hash(context.country).to_bytes(VALUE_BYTES, "big")
    if not isinstance(event, User):
        return packed
    told = b"".join(
        time + name_hash(name) + (NO_VALUE if value is None else _value_hash(_plain(value)))
        for name, value in event.attributes.items()
    )
    return merge_traits(packed, told)


def merge_traits(one: bytes, other: bytes) -> bytes:
    """The section of the records of both, newest first; either may hold records in any order."""
    names: set[bytes] = set()
    kept: list[bytes] = []
    attributes = 0
    for record in sorted({*split_traits(one), *split_traits(other)}, reverse=True):
        name = record[_NAME]
        if name in names:
            continue
        names.add(name)
        if name not in _CONTEXT:
            attributes += 1
            if attributes > MOST_ATTRIBUTES:
                continue
        kept.append(record)
    return b"".join(kept)


def country_in(traits: bytes) -> int | None:
    """The ``place_hash`` of the newest country; None where none is known."""
    for record in split_traits(traits):
        if record[_NAME] == COUNTRY:
            return int.from_bytes(record[_NAME.stop :], "big")
    return None


def split_traits(section: bytes) -> Iterator[bytes]:
    """Records, one by one."""
    return (section[at : at + TRAIT_BYTES] for at in range(0, len(section), TRAIT_BYTES))


def name_hash(attribute: str) -> bytes:
    """The two bytes that stand for an attribute's name, none of the reserved ones."""
    number = int.from_bytes(blake2b(attribute.encode(), digest_size=4).digest(), "big")
    return (len(_CONTEXT) + number % (65_536 - len(_CONTEXT))).to_bytes(NAME_BYTES, "big")


MOST_FOLDED = 256
"""Characters. Normal forms take time that grows with the square of a text, and nobody's country is
longer; what is, is told apart by its characters as they are."""


def place_hash(country: str) -> int:
    """The 48-bit hash of a country's name or code; width, case and spacing make no difference."""
    return _few_hash(country) if len(country) <= MOST_FOLDED else text_hash(country)


def text_hash(text: str) -> int:
    """48 bits of a text without width, case and spacing (Unicode NFKC, case folding), unless it has
    more than ``MOST_FOLDED`` characters."""
    plain = text
    if len(text) <= MOST_FOLDED:
        plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return int.from_bytes(blake2b(plain.encode(), digest_size=6).digest(), "big")


@lru_cache(maxsize=1 << 11)
def _few_hash(text: str) -> int:
    """Of countries and devices, of which there are few."""
    return text_hash(text)


def _device_hash(device: str) -> bytes:
    return place_hash(device).to_bytes(VALUE_BYTES, "big")


def _value_hash(text: str) -> bytes:
    return text_hash(text).to_bytes(VALUE_BYTES, "big")


def _plain(value: str | float | bool | list[str]) -> str:
    """The same text for values that say the same: numbers to two digits, lists as sets."""
    match value:
        case bool():
            return str(value)
        case str():
            return value
        case int() | float():
            try:
                return f"{float(value):.2g}"
            except OverflowError:
                return "inf" if value > 0 else "-inf"
        case _:
            return "\x1f ".join(sorted(set(value)))
