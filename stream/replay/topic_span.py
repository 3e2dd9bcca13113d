"""Which part of a topic is read: all of it, some partitions, by offsets or by time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kafka import TopicPartition

from stream.kafka import TopicError
from stream.replay.topic_offsets import Offsets, TopicOffsets

Ranges = dict[int, tuple[int, int]]
"""Of each partition the offsets [first, end) that are read."""


@dataclass(frozen=True)
class Span:
    """As a person asks for it. What is not given leaves the topic whole."""

    partitions: frozenset[int] = frozenset()
    """These only; empty: all."""
    first: Mapping[int, int] = field(default_factory=dict)
    """First offset of a partition."""
    end: Mapping[int, int] = field(default_factory=dict)
    """Offset behind the last one of a partition."""
    since: int | None = None
    """From the first record that Kafka has stamped so late or later, epoch milliseconds."""
    until: int | None = None
    """Up to the record before the first that is stamped so late or later."""


WHOLE = Span()


def span_of(
    partitions: Iterable[int],
    first: Mapping[int, int],
    end: Mapping[int, int],
    since: int | None,
    until: int | None,
) -> Span:
    """A span that can hold something.

    Raises:
        ValueError: it begins behind its end; the message names the options.
    """
    if since is not None and until is not None and since >= until:
        raise ValueError("--from is not before --to, so that nothing is between them; swap them")
    for partition in sorted(first.keys() & end.keys()):
        if first[partition] >= end[partition]:
            raise ValueError(
                f"--from-offset {partition}:{first[partition]} is not before --to-offset "
                f"{partition}:{end[partition]}, so that nothing is between them; swap them"
            )
    asked = frozenset(partitions)
    others = (first.keys() | end.keys()) - asked
    if asked and others:
        raise ValueError(
            f"partition {min(others)} has an offset and is none of --partition; name it there, or "
            "leave its offset out"
        )
    return Span(asked, first, end, since, until)


def ranges_of(offsets: TopicOffsets, topic: str, span: Span) -> Ranges:
    """The offsets that a span means now, in the order of the partitions.

    Raises:
        TopicError: there is no such topic or partition, what is asked for by offset is not or no
            longer there, or the broker finds no offsets by time.
    """
    places = offsets.partitions(topic)
    known = {place.partition for place in places}
    unknown = (set(span.partitions) | set(span.first) | set(span.end)) - known
    if unknown:
        raise TopicError(
            f"`{topic}` has no partition {min(unknown)}; it has {len(known)}, from {min(known)} to "
            f"{max(known)}"
        )
    if span.partitions:
        places = [place for place in places if place.partition in span.partitions]
    kept, ends = offsets.beginnings(places), offsets.ends(places)
    firsts, behind = dict(kept), dict(ends)
    if span.since is not None:
        firsts = ends | offsets.since(places, span.since)
    if span.until is not None:
        behind = ends | offsets.since(places, span.until)
    for place in places:
        firsts[place] = span.first.get(place.partition, firsts[place])
        behind[place] = span.end.get(place.partition, behind[place])
        for asked in (firsts[place], behind[place]):
            refuse_missing(place, asked, kept, ends)
    return {place.partition: (firsts[place], max(firsts[place], behind[place])) for place in places}


def refuse_missing(place: TopicPartition, asked: int, kept: Offsets, ends: Offsets) -> None:
    """Raise TopicError where a read cannot begin or end at this offset."""
    name = f"`{place.topic}` partition {place.partition}"
    if asked < kept[place]:
        raise TopicError(
            f"{name} no longer has offset {asked}: its retention has dropped what stood before "
            f"{kept[place]}; begin there, or raise the topic's retention in time"
        )
    if asked > ends[place]:
        raise TopicError(
            f"{name} ends at offset {ends[place]} and has no {asked} yet; was the topic made anew?"
        )


def time_ms(text: str) -> int:
    """Epoch milliseconds of ``2024-05-01T00:00``, ``2024-05-01``, with or without offset, or as is.

    Without an offset it is UTC.

    Raises:
        ValueError: it is no time; the message says how to write one.
    """
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time; write 2024-05-01T00:00, 2024-05-01T00:00+08:00, or epoch "
            "milliseconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def places_of(texts: list[str]) -> dict[int, int]:
    """Offsets by partition of ``0:1200``. Raises ValueError for anything else."""
    found: dict[int, int] = {}
    for text in texts:
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{text!r} is no place; write PARTITION:OFFSET, such as 0:1200")
        found[int(partition)] = int(offset)
    return found
