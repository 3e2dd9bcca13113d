"""What breaks the contract and is left out, as a line of a file of it.

The file has one JSON object a line, as they were met: the place, reason and detail, and what it
was, as text or in base64 where it is none.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stream.rows import BadRow


class BadRecord(NamedTuple):
    """A record of a topic that was left out."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    value: bytes | None

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}: {self.reason}: {self.detail}"


Bad = BadRow | BadRecord


def bad_line(bad: Bad) -> bytes:
    """The line of a row or record, with its end."""
    fields: dict[str, Any]
    if isinstance(bad, BadRow):
        name, raw = "row", bad.raw
        fields = {"file": told_name(bad.path), "line": bad.line}
    else:
        name, raw = "value", bad.value or b""
        fields = {"topic": bad.topic, "partition": bad.partition, "offset": bad.offset}
    fields |= {"reason": bad.reason, "detail": _told(bad.detail)}
    if raw:
        try:
            fields[name] = raw.decode()
        except UnicodeDecodeError:
            fields[f"{name}_base64"] = b64encode(raw).decode()
    return msgspec.json.encode(fields) + b"\n"


class _Row(msgspec.Struct):
    file: str
    line: int
    reason: str
    detail: str
    row: str = ""
    row_base64: str = ""


def read_bad_rows(path: Path, names: Mapping[str, Path]) -> Iterator[BadRow]:
    """The rows of a file of bad rows.

    Args:
        path: the file.
        names: what the files of the rows are called by now.
    """
    decoder = msgspec.json.Decoder(_Row)
    with path.open("rb") as lines:
        for line in lines:
            row = decoder.decode(line)
            raw = b64decode(row.row_base64) if row.row_base64 else row.row.encode()
            yield BadRow(names[row.file], row.line, row.reason, row.detail, raw)


def told_name(path: Path) -> str:
    """The name of a file as JSON can hold it: it need not be Unicode."""
    return _told(str(path))


def _told(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
