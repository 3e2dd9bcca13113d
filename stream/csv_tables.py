"""Rows of CSV files by columns, where they are of the simple sort: no quotes, no blank lines.

Files are read in blocks of lines, and a block with anything else in it goes the way of
``csv.reader``, row by row; so does every row of which the columns cannot vouch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv

from stream.csv_rows import CELL_KINDS, CsvRow, CsvRows
from stream.event_json import Written, decimals, json_columns
from stream.lines import DamageError, Line, LineBlock, line_blocks
from stream.sound_rows import CONTRACT_FIELDS

Array: TypeAlias = Any

WHOLE_FIELDS = ("ts", "dwell_ms", "position")
_WHOLE = r"^(0|-?[1-9][0-9]{0,14})$"
_DECIMAL = r"^-?(0|[1-9][0-9]{0,6})\.[0-9]{1,12}$"
_UNUSUAL = (b'"', b"\r", b"\0", b"\n\n")


class CsvTable(NamedTuple):
    """Rows that stand in a line each."""

    header: Sequence[str]
    first: int
    """Number of the first line, from 1."""
    lines: Sequence[bytes]
    batch: Any
    """What the contract has fields for, a number or truth value where a cell is plainly one."""
    data: Array
    """The JSON of each row."""
    is_whole: Array
    """Of which rows ``data`` is that."""

    def row(self, at: int) -> CsvRow:
        """A row as cells; ``at`` counts from 0."""
        raw = self.lines[at].removesuffix(b"\r")
        cells = raw.decode().split(",")
        return CsvRow(self.first + at, dict(zip(self.header, cells, strict=True)), raw)


def csv_parts(stream: BinaryIO) -> Iterator[CsvTable | list[CsvRow]]:
    """All rows of a file with a row of names, as far as it goes in tables.

    Raises:
        DamageError: the file is damaged; the rows before have been handed on.
    """
    blocks = line_blocks(stream)
    header: list[str] | None = None
    for block in blocks:
        table = None if header is None else _table(block, header)
        if table is not None:
            yield table
            continue
        lines = _LinesFrom(block, blocks)
        rows = CsvRows(lines, columns=header)
        held: list[CsvRow] = []
        try:
            for row in rows:
                held.append(row)
                if lines.is_between and not rows.has_fault:
                    break
        except DamageError:
            yield held
            raise
        header = rows.header
        yield held


class _LinesFrom(Iterator[Line]):
    """The lines of a block, and those of the blocks behind it as long as they are asked for."""

    def __init__(self, block: LineBlock, blocks: Iterator[LineBlock]) -> None:
        self._block = block
        self._blocks = blocks
        self._at = 0

    @property
    def is_between(self) -> bool:
        """Whether all lines of the blocks begun have been taken."""
        return self._at == len(self._block.lines) + bool(self._block.fault)

    def __next__(self) -> Line:
        while self.is_between:
            self._block, self._at = next(self._blocks), 0
        at, self._at = self._at, self._at + 1
        number = self._block.first + at
        if at == len(self._block.lines):
            return Line(number, b"", self._block.fault)
        return Line(number, self._block.lines[at])


def _table(block: LineBlock, header: list[str]) -> CsvTable | None:
    """The rows of a block; None where they are not of the simple sort."""
    wanted = [name for name in header if name.partition(".")[0] in CONTRACT_FIELDS]
    if block.fault or not wanted or len({*header}) < len(header):
        return None
    data = (b"\n".join(block.lines) + b"\n").replace(b"\r\n", b"\n")
    if any(each in data for each in _UNUSUAL) or data[:1] in (b"\n", b"\xef"):
        return None
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=header, block_size=len(data) + 1, use_threads=False),
            csv.ParseOptions(quote_char=False, double_quote=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=wanted,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:  # rows of several lengths, or text that is none
        return None
    if len(table) != len(block.lines):
        return None
    (batch,) = table.combine_chunks().to_batches()
    return CsvTable(header, block.first, block.lines, *_typed(batch))


def _typed(batch: Any) -> tuple[Any, Array, Array]:
    """Texts as what the contract wants, and the JSON of it."""
    written: dict[str, Written] = {}
    typed = batch
    for at, name in enumerate(batch.schema.names):
        kind, column = CELL_KINDS.get(name, "text"), batch.column(at)
        if kind == "text" and "." not in name:
            continue
        if kind == "number":
            values, written[name] = _numbers(column, name in WHOLE_FIELDS)
        elif kind == "boolean":
            values, written[name] = _truths(column)
        else:
            values, written[name] = column, Written(None, pc.is_null(column))
        typed = typed.set_column(at, name, values)
    return typed, *json_columns(typed, written)


def _numbers(column: Array, is_whole_field: bool) -> tuple[Array, Written]:
    is_whole = pc.match_substring_regex(column, _WHOLE)
    if is_whole_field:
        text = pc.if_else(is_whole, column, pa.scalar(None, pa.string()))
        return text.cast(pa.int64()), Written(text, pc.fill_null(is_whole, True))
    is_number = pc.or_(is_whole, pc.match_substring_regex(column, _DECIMAL))
    text = pc.if_else(is_number, column, pa.scalar(None, pa.string()))
    values = text.cast(pa.float64())
    json, is_plain = decimals(values)
    is_told = pc.and_(pc.fill_null(is_number, True), pc.or_(pc.fill_null(is_whole, True), is_plain))
    return values, Written(pc.if_else(is_whole, text, json), is_told)


def _truths(column: Array) -> tuple[Array, Written]:
    text = pc.utf8_lower(column)
    is_truth = pc.or_(pc.is_null(text), pc.is_in(text, pa.array(["true", "false"])))
    text = pc.if_else(is_truth, text, pa.scalar(None, pa.string()))
    return pc.equal(text, "true"), Written(text, is_truth)
