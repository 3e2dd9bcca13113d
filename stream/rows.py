"""Rows of JSONL, CSV and Parquet files, each as the JSON bytes that would stand on a topic.

JSONL and CSV may be packed with gzip or zstd, by their suffix (``events.csv.gz``). A row that
cannot be read is handed on with its fault, and the rows after it are read all the same.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import msgspec

from model.events import ContractError
from stream.csv_rows import csv_rows, typed_fields
from stream.lines import PACKINGS, DamageError, line_blocks, lines, recoded, unpacked
from stream.parquet_rows import column_names, parquet_batches

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Its byte order marks."""
NOT_UTF_8 = (
    "the text is not UTF-8; save it as UTF-8, or give its `encoding`, such as gbk, in the table "
    "[file] of a mapping (docs/mapping.md)"
)
NO_JSON = (UnicodeEncodeError, TypeError, OverflowError)
"""What `json_of` raises."""

T = TypeVar("T")
_encoder = msgspec.json.Encoder(decimal_format="number")


class RowsError(ValueError):
    """A file cannot be read at all; the message names it and says what to do."""


class DamagedFileError(RowsError):
    """A file can be read up to some line only; those before it have been handed on."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(
            f"{path} is damaged from line {line:,} on ({why}); mend it, or name a whole copy"
        )
        self.path, self.line, self.why = path, line, why


class Row(NamedTuple):
    """One row of a file: its JSON bytes, or what is wrong with it. ``line`` counts from 1."""

    path: Path
    line: int
    data: bytes
    fault: str = ""


class BadRow(NamedTuple):
    """A row that was left out."""

    path: Path
    line: int
    reason: str
    detail: str
    raw: bytes = b""
    """Its line, or its JSON where the file has no lines; empty where it cannot be read."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"


def read_rows(
    path: Path, look: Callable[[Path, Sequence[str]], None] = lambda path, columns: None
) -> Iterator[Row]:
    """Every row of a file, in file order; blank lines are no rows.

    Args:
        path: the file.
        look: gets the columns of a table before its first row.

    Raises:
        RowsError: when the file is missing, is of no format known here, or is damaged.
    """
    form, packing = format_of(path)
    if form == "parquet":
        with naming_damage(path):
            look(path, column_names(path))
            yield from _parquet(path)
        return
    with opened(path, packing) as stream:
        yield from _jsonl(path, stream) if form == "jsonl" else _csv(path, stream, look)


def decode_rows(
    rows: Iterable[Row], decode: Callable[[bytes], T], report: Callable[[BadRow], None]
) -> Iterator[tuple[Row, T]]:
    """Each row that ``decode`` takes, with what it made of it; ``report`` gets the others."""
    for row in rows:
        if row.fault:
            report(bad_row(row.path, row.line, "unreadable", row.fault, row.data))
            continue
        try:
            value = decode(row.data)
        except ContractError as error:
            report(bad_row(row.path, row.line, error.reason, str(error), row.data))
            continue
        yield row, value


def format_of(path: Path, *, unknown: str = "") -> tuple[str, str]:
    """Format and packing ("" for none) of a file, by its suffixes.

    Args:
        path: the file.
        unknown: what a file of another suffix is; "" where there is no such thing.

    Raises:
        RowsError: it is of no format known here, or missing.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = PACKINGS[suffixes.pop()] if suffixes and suffixes[-1] in PACKINGS else ""
    form = FORMATS.get(suffixes[-1], unknown) if suffixes else unknown
    if not form or (form == "parquet" and packing):
        raise RowsError(
            f"{path} is of no known format; name it .jsonl or .csv (also with .gz or .zst), "
            "or .parquet"
        )
    if not path.is_file():
        raise RowsError(f"{path} is not a file; correct the path")
    return form, packing


@contextmanager
def opened(
    path: Path, packing: str, *, encoding: str = "utf-8", name: Path | None = None
) -> Iterator[BinaryIO]:
    """A file, unpacked and in UTF-8.

    Args:
        path: the file.
        packing: a value of `PACKINGS`, or "".
        encoding: of its text.
        name: what it is called in errors, if not so.

    Raises:
        RowsError: it cannot be read, or not to its end.
    """
    try:
        with (
            naming_damage(name or path),
            path.open("rb") as packed,
            unpacked(packed, packing) as stream,
            recoded(stream, encoding) as text,
        ):
            if text is stream:
                _refuse_utf_16(name or path, stream)
            yield text
    except OSError as error:
        raise RowsError(f"{path} cannot be read ({error.strerror or error}); correct it") from None


def _refuse_utf_16(name: Path, stream: BinaryIO) -> None:
    """By a byte order mark, or by half of a first letter: no line of it could be read."""
    try:
        start = cast(io.BufferedReader, stream).peek(2)[:2]
    except OSError:
        return  # whoever reads on tells what is damaged
    if start in UTF_16 or b"\0" in start:
        raise RowsError(
            f"{name} is not UTF-8 but most likely UTF-16; save it as UTF-8, or give `encoding = "
            '"utf-16"` in the table [file] of a mapping (docs/mapping.md)'
        )


@contextmanager
def naming_damage(name: Path) -> Iterator[None]:
    """Say which file it is that cannot be read to its end. Raises DamagedFileError."""
    try:
        yield
    except DamageError as damage:
        raise DamagedFileError(name, damage.line, str(damage)) from None


def json_of(fields: dict[str, Any]) -> bytes:
    """The JSON bytes of a row of a table; None and NaN are absent fields.

    Raises:
        UnicodeEncodeError, TypeError, OverflowError: JSON knows no such thing.
    """
    return _encoder.encode({name: value for name, value in fields.items() if not _absent(value)})


def bad_row(path: Path, line: int, reason: str, detail: str, raw: bytes) -> BadRow:
    """What to say of a row; of one that is not UTF-8 that comes first."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        detail = NOT_UTF_8
    return BadRow(path, line, reason, detail, raw)


def _absent(value: object) -> bool:
    # Tables write a missing number as NaN.
    return value is None or (isinstance(value, float) and math.isnan(value))


def _jsonl(path: Path, stream: BinaryIO) -> Iterator[Row]:
    for number, line, fault in lines(line_blocks(stream)):
        data = line.removeprefix(BOM) if number == 1 else line
        if fault or data.strip():
            yield Row(path, number, data, fault)


def _csv(
    path: Path, stream: BinaryIO, look: Callable[[Path, Sequence[str]], None]
) -> Iterator[Row]:
    rows = csv_rows(stream)
    for at, row in enumerate(rows):
        if not at:
            look(path, rows.header or ())
        if row.fault:
            yield Row(path, row.line, row.raw, row.fault)
        else:
            yield _encoded(path, row.line, typed_fields(row.cells), row.raw)


def _parquet(path: Path) -> Iterator[Row]:
    line = 0
    for batch in parquet_batches(path):
        for fields in batch.to_pylist():
            line += 1
            yield _encoded(path, line, fields)


def _encoded(path: Path, line: int, fields: dict[str, Any], raw: bytes = b"") -> Row:
    try:
        return Row(path, line, json_of(fields))
    except NO_JSON as error:
        return Row(path, line, raw, str(error))
