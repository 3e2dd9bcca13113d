"""Rows of JSONL, CSV and Parquet files, each as the JSON bytes that would stand on a topic.

JSONL and CSV may be packed with gzip or zstd, by their suffix (``events.csv.gz``). A CSV cell has
no type of its own: it becomes a number, a list (JSON, or values with ``|`` between) or an object
where the contract has such a field of that name, else text; an empty cell is an absent field. A
row that cannot be read is handed on with its fault, and the rows after it are read all the same.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import msgspec
from msgspec import inspect

from model.events import ContractError, Event
from model.items import Item

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
PACKINGS = {".gz": "gzip", ".zst": "zstd"}
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Far over any record of the contract; a file without line ends must not fill the memory."""

T = TypeVar("T")
_encoder = msgspec.json.Encoder(decimal_format="number")


class RowsError(ValueError):
    """A file cannot be read at all; the message names it and says what to do."""


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

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of a file, in file order; blank lines are no rows.

    Raises:
        RowsError: when the file is missing, or is of no format known here.
    """
    form, packing = _format(path)
    try:
        if form == "parquet":
            yield from _parquet(path)
            return
        with path.open("rb") as packed, _unpacked(packed, packing) as stream:
            yield from _jsonl(path, stream) if form == "jsonl" else _csv(path, stream)
    except OSError as error:
        raise RowsError(f"{path} cannot be read ({error.strerror or error}); correct it") from None


def decode_rows(
    rows: Iterable[Row], decode: Callable[[bytes], T], report: Callable[[BadRow], None]
) -> Iterator[tuple[Row, T]]:
    """Each row that ``decode`` takes, with what it made of it; ``report`` gets the others."""
    for row in rows:
        if row.fault:
            report(BadRow(row.path, row.line, "unreadable", row.fault))
            continue
        try:
            value = decode(row.data)
        except ContractError as error:
            report(BadRow(row.path, row.line, error.reason, str(error)))
            continue
        yield row, value


def _format(path: Path) -> tuple[str, str]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in PACKINGS else ""
    form = FORMATS.get(suffixes[-1]) if suffixes else None
    if form is None or (form == "parquet" and packing):
        raise RowsError(
            f"{path} is of no known format; name it .jsonl or .csv (also with .gz or .zst), "
            "or .parquet"
        )
    if not path.is_file():
        raise RowsError(f"{path} is not a file; correct the path")
    return form, packing


def _unpacked(stream: BinaryIO, packing: str) -> BinaryIO:
    if not packing:
        return stream
    from pyarrow import CompressedInputStream, PythonFile

    # Unlike the packages gzip and zstandard, it tells for both when a file has been cut off.
    unpacked = CompressedInputStream(PythonFile(stream, "r"), PACKINGS[packing])
    return cast(BinaryIO, io.BufferedReader(unpacked, 128 * 1024))


def _lines(path: Path, stream: BinaryIO) -> Iterator[Row]:
    """Lines with their ends; a damaged file ends with a fault."""
    line = 0
    try:
        while data := stream.readline(MAX_LINE_BYTES):
            line += 1
            if len(data) == MAX_LINE_BYTES and not data.endswith(b"\n"):
                while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield Row(path, line, b"", f"a line of more than {MAX_LINE_BYTES} bytes")
            else:
                yield Row(path, line, data)
    except OSError as error:
        yield Row(path, line + 1, b"", f"the file is damaged from here on ({error})")


def _jsonl(path: Path, stream: BinaryIO) -> Iterator[Row]:
    for row in _lines(path, stream):
        data = row.data.removeprefix(b"\xef\xbb\xbf") if row.line == 1 else row.data
        if row.fault or data.strip():
            yield row._replace(data=data)


def _csv(path: Path, stream: BinaryIO) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)
    faults: list[Row] = []

    def text() -> Iterator[str]:
        for row in _lines(path, stream):
            if row.fault:
                faults.append(row)
            else:
                yield row.data.decode("utf-8", "surrogateescape")

    reader = csv.reader(text())
    header = [name.removeprefix("\ufeff").strip() for name in next(reader, [])]
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield Row(path, reader.line_num, b"", str(error))
            continue
        if cells:
            yield _csv_row(path, reader.line_num, header, cells)
    yield from faults


def _csv_row(path: Path, line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(path, line, b"", f"{len(cells)} cells under {len(header)} column names")
    fields: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if cell:
            outer, _, inner = name.partition(".")
            if inner:
                fields.setdefault(outer, {})[inner] = cell
            else:
                fields[name] = _typed(name, cell)
    return _encoded(path, line, fields)


def _typed(name: str, cell: str) -> Any:
    kind = CELL_KINDS.get(name, "text")
    if kind == "list" and not cell.startswith("["):
        return cell.split("|")
    if kind == "text":
        return cell
    try:
        return json.loads(cell.lower() if kind == "boolean" else cell)
    except (ValueError, RecursionError):
        return cell  # a time as text, or a fault that the contract will name


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet

    line = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4_096):
                for fields in _in_milliseconds(batch).to_pylist():
                    line += 1
                    yield _encoded(path, line, fields)
    except ArrowException as error:
        yield Row(path, line + 1, b"", f"the file is damaged from here on ({error})")


def _in_milliseconds(batch: Any) -> Any:
    """Times with nanoseconds have no Python type; the contract's own unit is the millisecond."""
    import pyarrow

    for index, field in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(field.type):
            unit = pyarrow.timestamp("ms", field.type.tz)
            batch = batch.set_column(index, field.name, batch.column(index).cast(unit, safe=False))
    return batch


def _encoded(path: Path, line: int, fields: dict[str, Any]) -> Row:
    present = {name: value for name, value in fields.items() if not _absent(value)}
    try:
        return Row(path, line, _encoder.encode(present))
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        return Row(path, line, b"", str(error))


def _absent(value: object) -> bool:
    # Tables write a missing number as NaN.
    return value is None or (isinstance(value, float) and math.isnan(value))


def _cell_kinds(*contracts: Any) -> dict[str, str]:
    """What a CSV cell under each field name of the contracts has to become."""
    kinds: dict[str, str] = {}
    names = {
        inspect.IntType: "number",
        inspect.FloatType: "number",
        inspect.BoolType: "boolean",
        inspect.VarTupleType: "list",
        inspect.DictType: "object",
    }

    def members(kind: inspect.Type) -> Iterator[inspect.Type]:
        while isinstance(kind, inspect.Metadata):
            kind = kind.type
        if isinstance(kind, inspect.UnionType):
            for member in kind.types:
                yield from members(member)
        else:
            yield kind

    for contract in contracts:
        for struct in members(inspect.type_info(contract)):
            assert isinstance(struct, inspect.StructType)
            for field in struct.fields:
                for member in members(field.type):
                    if type(member) in names:
                        kinds[field.encode_name] = names[type(member)]
    return kinds


CELL_KINDS = _cell_kinds(Event, Item)
