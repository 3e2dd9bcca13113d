"""The side file of bad rows: one JSON object a line, as they were met."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stream.rows import BadRow


class _Line(msgspec.Struct, omit_defaults=True):
    file: str
    line: int
    reason: str
    detail: str
    row: str = ""
    """As text, where it is some."""
    row_base64: str = ""


def bad_row_line(row: BadRow) -> bytes:
    """The line of a row, with its end."""
    try:
        text, encoded = row.raw.decode(), ""
    except UnicodeDecodeError:
        text, encoded = "", b64encode(row.raw).decode()
    line = _Line(_told(str(row.path)), row.line, row.reason, _told(row.detail), text, encoded)
    return msgspec.json.encode(line) + b"\n"


def read_bad_rows(path: Path) -> Iterator[BadRow]:
    """The rows of a side file."""
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as lines:
        for line in lines:
            row = decoder.decode(line)
            raw = b64decode(row.row_base64) if row.row_base64 else row.row.encode()
            yield BadRow(Path(row.file), row.line, row.reason, row.detail, raw)


def _told(text: str) -> str:
    """Text that JSON can hold: names of files need not be Unicode."""
    return text.encode(errors="backslashreplace").decode()
