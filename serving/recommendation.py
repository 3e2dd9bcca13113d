"""The wire contract of the ``recommendations`` topic: one JSON object per list, keyed by user."""

import re
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from model.signals import Origin
from serving.why import Language, Why

Source: TypeAlias = Literal[
    "rule", "search", "chosen", "repeat", "together", "nearest", "new", "popular"
]  # fmt: skip
"""Where a candidate came from, the most telling first: an item proposed by several keeps all."""
SOURCES: tuple[Source, ...] = get_args(Source)
SOURCE_BIT: dict[Source, int] = {source: Origin[source.upper()].value for source in SOURCES}
SOURCES_OF_BITS = [
    tuple(source for source in SOURCES if bits & SOURCE_BIT[source])
    for bits in range(2 * max(SOURCE_BIT.values()))
]
"""The names of the sources, by their bits."""

Placed: TypeAlias = Literal["pinned", "sponsored"]
"""How an item came to its place by a rule."""


class AsOf(msgspec.Struct, frozen=True, gc=False):
    """The newest input record a list was made for. A higher offset makes a newer list.

    A list that had to be made again may know later records of the same user too.
    """

    topic: str
    partition: int
    offset: int


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """An item that the user has dealt with, and what speaks for another one because of it."""

    item_id: str
    amount: Annotated[float, Meta(description="What the score loses without that item.")]


class Recommended(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of a list."""

    item_id: str
    rank: Annotated[int, Meta(ge=1)]
    score: float
    sources: tuple[Source, ...]
    reason: Annotated[
        str, Meta(description="A sentence for a person, in the first of the languages asked for.")
    ]
    because: (
        Annotated[
            str, Meta(description="What the reason points at: an item id, a category or a query.")
        ]
        | None
    ) = None
    why: (
        Annotated[Why, Meta(description="The reason as a code with arguments, for machines.")]
        | None
    ) = None
    contributions: Annotated[
        tuple[Contribution, ...],
        Meta(description="The user's items that contributed most, the greatest amount first."),
    ] = ()
    reasons: (
        Annotated[
            dict[Language, str],
            Meta(description="The sentence in each language, where several are asked for."),
        ]
        | None
    ) = None
    placed: Annotated[Placed, Meta(description="Of an item that a rule has put there.")] | None = (
        None
    )


class Recommendation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A personal list. Consumers drop copies by ``rec_id`` and keep the highest ``as_of``."""

    rec_id: str
    user_id: str
    event_id: Annotated[str, Meta(description="The event that caused the list.")]
    ts: Annotated[int, Meta(description="Event time of that event, epoch milliseconds.")]
    as_of: AsOf
    bundle: Annotated[str, Meta(description="Version of the model bundle that ranked it.")]
    query: str | None = None
    items: tuple[Recommended, ...]
    step_ms: Annotated[
        dict[str, float], Meta(description="Milliseconds the micro-batch spent in each step.")
    ]


def recommendation_id(user: str, as_of: AsOf, bundle: str) -> str:
    """The same for every copy of a list, whoever computes it again (32 hex characters).

    ``user`` is the id, or the pseudonym, for which nobody can try ids.
    """
    name = f"{user}\0{as_of.topic}\0{as_of.partition}\0{as_of.offset}\0{bundle}"
    return blake2b(name.encode(), digest_size=16).hexdigest()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Recommendation)
_USER_ID = re.compile(rb'(?<="user_id":)"(?:[^"\\]|\\.)*"')
"""Before it stands only ``rec_id``."""


def encode_recommendation(recommendation: Recommendation) -> bytes:
    """The JSON bytes of a list."""
    return _encoder.encode(recommendation)


NO_LIST = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises where bytes are no list: whoever may write the topic may write anything."""


def decode_recommendation(data: bytes) -> Recommendation:
    """A list from its JSON bytes. Raises one of ``NO_LIST`` where they are none."""
    return _decoder.decode(data)


def with_user_id(data: bytes, user_id: str) -> bytes:
    """The JSON bytes of a list, with another user id."""
    encoded = _encoder.encode(user_id)
    return _USER_ID.sub(lambda _: encoded, data, count=1)
