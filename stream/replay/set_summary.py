"""What a set of files holds, told without reading it again."""

from pathlib import Path

import msgspec
from msgspec import Struct


class Damage(Struct, frozen=True):
    """From where on a file cannot be read."""

    file: str
    line: int
    why: str


class Summary(Struct, frozen=True):
    """What a set of files holds."""

    files: list[tuple[str, str]]
    """Name and digest of each, as they were called when they were read."""
    runs: list[str]
    events: int
    rows: int
    first: int
    """Event time of the oldest event, epoch milliseconds; 0 where there is none."""
    newest: int
    bad: dict[str, int]
    """Rows left out, by reason."""
    unmapped: int
    """Rows of which the mapping makes no event, on purpose."""
    damages: list[Damage]


def read_summary(path: Path) -> Summary:
    """Raises FileNotFoundError."""
    return msgspec.json.decode(path.read_bytes(), type=Summary)


def write_summary(path: Path, summary: Summary) -> None:
    """Whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(msgspec.json.encode(summary))
    new.replace(path)
