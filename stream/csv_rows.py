"""Rows of CSV files and their like, by the names of the columns.

A cell has no type of its own: for the contract it becomes a number, a list (JSON, or values with
``|`` between) or an object where the contract has such a field of that name, else text; an empty
cell is an absent field.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, NamedTuple

from msgspec import inspect

from model.events import Event
from model.items import Item
from stream.lines import MAX_LINE_BYTES, Line, line_blocks, lines


class CsvRow(NamedTuple):
    """The cells of a row, empty ones too, or what is wrong with it."""

    line: int
    """Number of its last line, from 1."""
    cells: dict[str, str]
    raw: bytes
    fault: str = ""


def csv_rows(
    stream: BinaryIO,
    separator: str = ",",
    columns: Sequence[str] | None = None,
    *,
    quoted: bool = True,
    encoding: str = "utf-8",
) -> Iterator[CsvRow]:
    """Every row of a file; blank lines are no rows.

    Args:
        stream: the file, unpacked.
        separator: between cells. With one of several characters no cell is quoted.
        columns: their names, where the file has no row of names.
        quoted: whether cells may stand in double quotes.
        encoding: one in which a line ends as in ASCII.
    """
    faults: list[Line] = []
    seen: list[Line] = []
    text = _text(stream, encoding, faults, seen)
    if len(separator) == 1:
        csv.field_size_limit(MAX_LINE_BYTES)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        rows: Iterator[list[str]] = csv.reader(text, delimiter=separator, quoting=quoting)
    else:
        rows = (line.rstrip("\r\n").split(separator) for line in text if line.strip())
    header = None if columns is None else list(columns)
    while True:
        seen.clear()
        cells: list[str] = []
        fault = ""
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            fault = str(error)
        if header is not None and cells and len(cells) != len(header):
            fault = f"{len(cells)} cells under {len(header)} column names"
        if fault:
            yield CsvRow(seen[-1].number, {}, _raw(seen), fault)
        elif header is None:
            header = [name.removeprefix("\ufeff").strip() for name in cells] or None
        elif cells:
            yield CsvRow(seen[-1].number, dict(zip(header, cells, strict=True)), _raw(seen))
    for line in faults:
        yield CsvRow(line.number, {}, b"", line.fault)


def _text(stream: BinaryIO, encoding: str, faults: list[Line], seen: list[Line]) -> Iterator[str]:
    """The lines, as a reader of CSV wants them; ``seen`` gets those that it has taken."""
    for line in lines(line_blocks(stream)):
        if line.fault:
            faults.append(line)
        else:
            seen.append(line)
            yield line.data.decode(encoding, "surrogateescape") + "\n"


def _raw(seen: Sequence[Line]) -> bytes:
    return b"\n".join([line.data for line in seen])


def typed_fields(cells: dict[str, str]) -> dict[str, Any]:
    """Cells as the contract wants them; a name with a dot in it is a field of an object."""
    fields: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell:
            outer, _, inner = name.partition(".")
            if inner:
                held = fields.setdefault(outer, {})
                if isinstance(held, dict):  # else the contract will name it
                    held[inner] = cell
            else:
                fields[name] = _typed(name, cell)
    return fields


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


def _cell_kinds(*contracts: Any) -> dict[str, str]:
    """What a cell under each field name of the contracts has to become."""
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
