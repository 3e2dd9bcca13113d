"""A record on its way to the events topic."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A record to produce."""

    partition: int
    key: bytes
    value: bytes | None
    is_garbage: bool = False
