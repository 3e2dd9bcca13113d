"""From records to events: decode each once, and set apart what breaks the contract."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from model.events import ContractError, Event, decode_event
from serving import metrics


class Record(Protocol):
    """A Kafka record, as aiokafka gives it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Decoded(Struct, frozen=True, gc=False):
    """A record that keeps the contract."""

    record: Record
    event: Event


@dataclass(frozen=True)
class DeadLetter:
    """A record that breaks the contract."""

    record: Record
    error: ContractError


def decode(records: Sequence[Record], now_ms: int) -> tuple[list[Decoded], list[DeadLetter]]:
    """Decode each record once; what breaks the contract is set apart and stops nothing."""
    decoded: list[Decoded] = []
    dead: list[DeadLetter] = []
    for record in records:
        try:
            event = decode_event(record.value, now_ms)
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
