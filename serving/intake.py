"""From records to events: decode each once, and set apart what breaks the contract."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct

from model.events import ContractError, Event, decode_event
from model.mapping import Mapping as EventMapping
from serving import metrics
from serving.record import Record

Mappings: TypeAlias = Mapping[str, EventMapping]
"""By topic; the records of all others are events of the contract."""
NO_MAPPINGS: Mappings = {}
WHOLE = -1
"""Stands for the number of an event that is its whole record."""


class Decoded(Struct, frozen=True, gc=False):
    """A record that keeps the contract."""

    record: Record
    event: Event
    part: int = WHOLE
    """Number of the event in its record, from 0, where a mapping may make several of one."""


@dataclass(frozen=True)
class DeadLetter:
    """A record that breaks the contract."""

    record: Record
    error: ContractError


def decode(
    records: Sequence[Record],
    now_ms: int,
    mappings: Mappings = NO_MAPPINGS,
    *,
    as_stamped: bool = False,
) -> tuple[list[Decoded], list[DeadLetter]]:
    """Decode each record once; what breaks the contract is set apart and stops nothing.

    A record of which one event breaks the contract is a dead letter as a whole: it may be mended
    and come again, and no part of it is to be there twice.

    Args:
        records: of any topics.
        now_ms: the present; what is much later breaks the contract.
        mappings: by topic.
        as_stamped: records of the past: the present of each is its own stamp, so that what was
            refused for coming from the future stays refused.
    """
    decoded: list[Decoded] = []
    dead: list[DeadLetter] = []
    for record in records:
        present = _stamp(record, now_ms) if as_stamped else now_ms
        try:
            if mappings and (mapping := mappings.get(record.topic)) is not None:
                decoded += _mapped(record, mapping, present)
                continue
            event = decode_event(record.value, present)
        except ContractError as error:
            metrics.DEAD_LETTERS.labels(error.reason).inc()
            dead.append(DeadLetter(record, error))
        else:
            decoded.append(Decoded(record, event))
    for kind, count in Counter([type(each.event) for each in decoded]).items():
        metrics.EVENTS.labels(kind.__name__.lower()).inc(count)
    mismatches = [each.record.key != each.event.user_id.encode() for each in decoded]
    metrics.KEY_MISMATCHES.inc(sum(mismatches))
    return decoded, dead


def _stamp(record: Record, now_ms: int) -> int:
    """When Kafka has stamped it, if it has."""
    stamp: int = record.timestamp  # type: ignore[attr-defined]  # what comes from Kafka has one
    return min(stamp, now_ms) if stamp > 0 else now_ms


def _mapped(record: Record, mapping: EventMapping, now_ms: int) -> list[Decoded]:
    made = mapping.events_of_record(record.value)
    if not made:
        metrics.LEFT_OUT.labels(record.topic).inc()
    return [Decoded(record, decode_event(data, now_ms), number) for number, data in enumerate(made)]
