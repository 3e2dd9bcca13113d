"""The first event in which two profiles of a user differ, told to a person."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from model.events import INTERACTION_KINDS
from serving.profile import DAY_MS, IDENTITY_BYTES, INTERACTIONS, LINKED, SECTIONS, Profile

_KINDS = {number: kind.__name__.lower() for kind, number in INTERACTION_KINDS.items()}
_ITEM = slice(IDENTITY_BYTES, IDENTITY_BYTES + 6)


class EventDifference(NamedTuple):
    """A record that one of two profiles has and the other has not."""

    is_in_first: bool
    kind: str
    time: int
    """Epoch milliseconds; of a purchase in short form that of its day."""
    what: str
    """Hash of the item in hex, text of the query, or name and value of the trait in hex."""

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.time / 1000, UTC).isoformat(timespec="milliseconds")
        return f"{self.kind} of {self.what} at {when}"


def first_difference(one: Profile, other: Profile) -> EventDifference | None:
    """The earliest record that is in one of them only; None where they are equal."""
    return min(_differences(one, other), key=lambda each: each.time, default=None)


def _differences(one: Profile, other: Profile) -> Iterator[EventDifference]:
    for which, section in enumerate(SECTIONS):
        ours, theirs = (
            {own[at : at + section.width] for at in range(0, len(own), section.width)}
            for own in (one[which], other[which])
        )
        for record in sorted(ours ^ theirs):
            yield EventDifference(record in ours, *_told(which, record))


def _told(which: int, record: bytes) -> tuple[str, int, str]:
    time = int.from_bytes(record[:6], "big")
    if which == 0:
        kind = record[INTERACTIONS.width - 3]
        linked = " (of a linked id)" if kind >= LINKED else ""
        name = _KINDS.get(kind % LINKED, f"kind {kind % LINKED}")
        return f"{name}{linked}", time, f"item {record[_ITEM].hex()}"
    if which == 1:
        text = record[IDENTITY_BYTES:-1].rstrip(b"\0").decode(errors="replace")
        return "search", time, f"“{text}”"
    if which == 2:
        return (
            "remembered purchase",
            int.from_bytes(record[:2], "big") * DAY_MS,
            (f"item {record[2:].hex()}"),
        )
    return "trait", time, f"{record[6:8].hex()}={record[8:].hex()}"
