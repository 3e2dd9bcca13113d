"""The wire contract of the ``events`` topic: one closed union on ``type``, decoded once.

``decode_event`` turns bytes into one of the structs below or raises ``ContractError`` with a
short reason (the dead-letter header) and a sentence that says where and what was wrong.
"""

import math
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

MAX_EVENT_BYTES = 256 * 1024
"""An impression of 1,000 ids of 256 bytes; anything larger is not an event."""
MAX_ID_BYTES = 256
MAX_QUERY_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 10_000
MAX_ITEMS_SHOWN = 1_000
MAX_FUTURE_MS = 10 * 60 * 1000
"""Clocks of phones are minutes off, not hours; a later time would sit on top of a profile."""
MAX_TIME_MS = 2**47
"""The year 6429; a profile keeps times in 6 bytes."""

Reason: TypeAlias = Literal[
    "malformed_json", "invalid", "too_large", "id_length", "text_length", "time_range",
    "future_time", "null_value", "processing_failed",
]  # fmt: skip

Time: TypeAlias = Annotated[
    int | datetime, Meta(description="Event time: RFC 3339 with offset, or epoch milliseconds.")
]
Id: TypeAlias = Annotated[
    str, Meta(min_length=1, description="At most 256 bytes of UTF-8, any Unicode.")
]


class ContractError(ValueError):
    """A record that breaks the contract: ``reason`` is a short code, the message a sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the event happened."""

    country: str | None = None
    device: str | None = None
    page: str | None = None


class EventBase(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every event carries. After decoding, ``ts`` is epoch milliseconds."""

    event_id: Id
    user_id: Id
    ts: Time
    session_id: str | None = None
    context: Context | None = None
    generated: Annotated[
        bool, Meta(description="True for events made up for a demonstration or a test.")
    ] = False

    @property
    def time(self) -> int:
        """Event time in epoch milliseconds."""
        return self.ts if isinstance(self.ts, int) else int(self.ts.timestamp() * 1000)


class Click(EventBase, tag="click"):
    """A user opened an item."""

    item_id: Id
    dwell_ms: Annotated[int, Meta(ge=0)] | None = None
    position: Annotated[int, Meta(ge=0)] | None = None
    rec_id: str | None = None


class Search(EventBase, tag="search"):
    """A user searched; ``item_ids`` are the results that were shown."""

    query: Annotated[str, Meta(min_length=1, description="At most 512 characters.")]
    item_ids: tuple[Id, ...] = ()


class Cart(EventBase, tag="cart"):
    """A user put an item into the cart."""

    item_id: Id
    quantity: Annotated[float, Meta(gt=0)] = 1
    price: Annotated[float, Meta(ge=0)] | None = None
    rec_id: str | None = None


class Purchase(EventBase, tag="purchase"):
    """A user bought an item."""

    item_id: Id
    quantity: Annotated[float, Meta(gt=0)] = 1
    price: Annotated[float, Meta(ge=0)] | None = None
    rec_id: str | None = None


class Favorite(EventBase, tag="favorite"):
    """A user marked an item as a favorite."""

    item_id: Id
    quantity: Annotated[float, Meta(gt=0)] = 1
    price: Annotated[float, Meta(ge=0)] | None = None


class Rating(EventBase, tag="rating"):
    """A user rated an item."""

    item_id: Id
    value: float
    text: str | None = None


class Impression(EventBase, tag="impression"):
    """A list was shown, in the order of ``item_ids``. Counted; never part of a profile."""

    rec_id: str
    item_ids: tuple[Id, ...]


class User(EventBase, tag="user"):
    """What is known of a user beside events, such as age band, gender, interests."""

    attributes: dict[str, str | int | float | bool | list[str] | None]


class Identify(EventBase, tag="identify"):
    """The anonymous visitor ``anonymous_id`` turned out to be ``user_id``."""

    anonymous_id: Id


class Forget(EventBase, tag="forget"):
    """The user asked to be erased."""


Interaction: TypeAlias = Click | Cart | Favorite | Rating | Purchase
Event: TypeAlias = Interaction | Search | Impression | User | Identify | Forget

INTERACTION_KINDS: dict[type, int] = {Click: 1, Cart: 2, Favorite: 3, Rating: 4, Purchase: 5}
"""The number by which a profile and the network know a kind; 0 is padding. Never renumber."""
KIND_NAMES = {1: "click", 2: "cart", 3: "favorite", 4: "rating", 5: "purchase"}

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def decode_event(data: bytes | None, now_ms: int) -> Event:
    """Decode and check one record of the ``events`` topic.

    Args:
        data: the record's value.
        now_ms: the present, epoch milliseconds; an event much later than that is refused.

    Raises:
        ContractError: with a reason and a sentence, when the record breaks the contract.
    """
    if data is None:
        raise ContractError("null_value", "an event without a value; `events` is not compacted")
    if len(data) > MAX_EVENT_BYTES:
        raise ContractError(
            "too_large", f"an event of {len(data)} bytes; at most {MAX_EVENT_BYTES}"
        )
    try:
        event = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ContractError("invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError("malformed_json", str(error)) from None
    ts = event.ts
    if type(ts) is not int or not 0 <= ts <= now_ms + MAX_FUTURE_MS or ts >= MAX_TIME_MS:
        _check_time(event, now_ms)
    # JSON is no shorter than what it says: a short record has no long id and not many of them.
    if len(data) > MAX_ID_BYTES:
        _check_lengths(event)
    return event


def encode_event(event: Event) -> bytes:
    """The JSON bytes of an event."""
    return _encoder.encode(event)


def check_id(field: str, value: str) -> None:
    """Raise ContractError unless ``value`` is a usable id: 1 to 256 bytes of UTF-8."""
    # At most 4 bytes a character: short ids need no encoding to be known as short.
    if 0 < len(value) <= MAX_ID_BYTES // 4:
        return
    if (size := len(value.encode())) > MAX_ID_BYTES:
        raise ContractError("id_length", f"`{field}` has {size} bytes; at most {MAX_ID_BYTES}")
    if not value:
        raise ContractError("id_length", f"`{field}` is empty")


def _check_time(event: EventBase, now_ms: int) -> None:
    ts = event.ts
    if isinstance(ts, datetime):
        if ts.tzinfo is None:
            raise ContractError("invalid", "`ts` has no offset; write 2026-01-31T12:00:00Z")
        event.ts = ts = math.floor(ts.timestamp() * 1000)
    if not 0 <= ts < MAX_TIME_MS:
        raise ContractError("time_range", f"`ts` is {ts}; expected epoch milliseconds from 1970 on")
    if ts > now_ms + MAX_FUTURE_MS:
        raise ContractError(
            "future_time", f"`ts` is {(ts - now_ms) // 1000} s in the future; check the clock"
        )


def _check_lengths(event: Event) -> None:
    check_id("event_id", event.event_id)
    check_id("user_id", event.user_id)
    if type(event) is Click:  # most of them
        check_id("item_id", event.item_id)
        return
    match event:
        case Search(query=query, item_ids=shown):
            if len(query) > MAX_QUERY_CHARACTERS:
                raise ContractError(
                    "text_length",
                    f"`query` has {len(query)} characters; at most {MAX_QUERY_CHARACTERS}",
                )
            _check_ids(shown)
        case Impression(item_ids=shown):
            _check_ids(shown)
        case Identify(anonymous_id=anonymous):
            check_id("anonymous_id", anonymous)
        case Rating(item_id=item_id, text=text):
            check_id("item_id", item_id)
            if text is not None and len(text) > MAX_TEXT_CHARACTERS:
                raise ContractError(
                    "text_length",
                    f"`text` has {len(text)} characters; at most {MAX_TEXT_CHARACTERS}",
                )
        case Cart(item_id=item_id) | Favorite(item_id=item_id) | Purchase(item_id=item_id):
            check_id("item_id", item_id)
        case _:
            pass


def _check_ids(item_ids: tuple[str, ...]) -> None:
    if len(item_ids) > MAX_ITEMS_SHOWN:
        raise ContractError(
            "text_length", f"`item_ids` has {len(item_ids)} ids; at most {MAX_ITEMS_SHOWN}"
        )
    for item_id in item_ids:
        check_id("item_ids", item_id)


def event_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the union, generated from the structs above."""
    (schema,), components = msgspec.json.schema_components([Event], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nextclick event",
        **schema,
        "$defs": components,
    }
