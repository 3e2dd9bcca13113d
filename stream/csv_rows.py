"""Rows of CSV files and their like, by the names of the columns.

A cell has no type of its own: for the contract it becomes a number, a list (JSON, or values with
``|`` between) or an object where the contract has such a field of that name, else text; an empty
cell is an absent field.
"""

import csv
import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, NamedTuple

from model.contract_fields import EVENT_CONTRACTS, ITEM_CONTRACT
from stream.lines import MAX_LINE_BYTES, Line, line_blocks, lines


class CsvRow(NamedTuple):
    """The cells of a row, empty ones too, or what is wrong with it."""

    line: int
    """Number of its last line, from 1."""
    cells: dict[str, str]
    raw: bytes
    fault: str = ""


class CsvRows(Iterator[CsvRow]):
    """Every row of a file; blank lines are no rows.

    Args:
        text: the lines of the file.
        separator: between cells. With one of several characters no cell is quoted.
        columns: their names, where the file has no row of names.
        quoted: whether cells may stand in double quotes.
    """

    def __init__(
        self,
        text: Iterator[Line],
        separator: str = ",",
        columns: Sequence[str] | None = None,
        *,
        quoted: bool = True,
    ) -> None:
        self.header = None if columns is None else list(columns)
        """Names of the columns; None before they are read."""
        self._seen: list[Line] = []
        self._faults: deque[Line] = deque()
        texts = self._text(text)
        if len(separator) == 1:
            csv.field_size_limit(MAX_LINE_BYTES)
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
            self._rows: Iterator[list[str]] = csv.reader(
                texts, delimiter=separator, quoting=quoting
            )
        else:
            self._rows = (line.rstrip("\r\n").split(separator) for line in texts if line.strip())

    def __next__(self) -> CsvRow:
        while True:
            if self._faults:
                line = self._faults.popleft()
                return CsvRow(line.number, {}, b"", line.fault)
            row = self._next()
            if row is not None:
                return row

    @property
    def has_fault(self) -> bool:
        """Whether a line that cannot be read waits for its turn."""
        return bool(self._faults)

    def _next(self) -> CsvRow | None:
        """The next row; None of what is none."""
        self._seen.clear()
        cells: list[str] = []
        fault = ""
        try:
            cells = next(self._rows)
        except StopIteration:
            if not self._faults:
                raise
        except csv.Error as error:
            fault = str(error)
        if self.header is not None and cells and len(cells) != len(self.header):
            fault = f"{len(cells)} cells under {len(self.header)} column names"
        if fault:
            return CsvRow(self._seen[-1].number, {}, _raw(self._seen), fault)
        if self.header is None:
            self.header = [name.removeprefix("\ufeff").strip() for name in cells] or None
        elif cells:
            named = dict(zip(self.header, cells, strict=True))
            return CsvRow(self._seen[-1].number, named, _raw(self._seen))
        return None

    def _text(self, text: Iterator[Line]) -> Iterator[str]:
        """The lines, as a reader of CSV wants them."""
        for line in text:
            if line.fault:
                self._faults.append(line)
            else:
                self._seen.append(line)
                yield line.data.decode(errors="surrogateescape") + "\n"


def csv_rows(
    stream: BinaryIO,
    separator: str = ",",
    columns: Sequence[str] | None = None,
    *,
    quoted: bool = True,
) -> CsvRows:
    """Every row of an unpacked file; see `CsvRows`."""
    return CsvRows(lines(line_blocks(stream)), separator, columns, quoted=quoted)


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


_CELL_KIND_OF: dict[str, str] = {"integer": "number", "time": "number"}
CELL_KINDS = {
    name: _CELL_KIND_OF.get(field.kind, field.kind)
    for contract in (*EVENT_CONTRACTS.values(), ITEM_CONTRACT)
    for name, field in contract.items()
    if field.kind != "text" and "." not in name
}
"""What a cell under each field name of the contracts has to become."""
