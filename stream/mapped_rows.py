"""Files of others, row by row, as what a mapping makes of each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

from model.events import ContractError
from model.mapping import Mapping
from stream.csv_rows import csv_rows
from stream.file_columns import Kind, refuse_other_columns, refuse_other_records
from stream.lines import line_blocks, lines
from stream.parquet_rows import column_names, parquet_batches
from stream.rows import BOM, BadRow, format_of, naming_damage, opened

UNREADABLE = "unreadable"

T = TypeVar("T")
ForeignRow: TypeAlias = bytes | dict[str, Any]
"""The line of a JSONL file, or the cells of a table's row by column."""
_Numbered: TypeAlias = tuple[int, ForeignRow, str]
"""Number, content and fault of a row."""


def mapped_rows(
    paths: Sequence[Path],
    mapping: Mapping,
    kind: Kind,
    make: Callable[[ForeignRow], list[T]],
    report: Callable[[BadRow], None],
) -> Iterator[list[T]]:
    """What ``make`` makes of each row; ``report`` gets each for which it raises ContractError.

    Args:
        paths: JSONL or Parquet, if their names say so, else tables of text.
        mapping: says how those are laid out, and which columns a row needs.
        kind: what rows are to become.
        make: of a row.
        report: gets rows that cannot be read, too.

    Raises:
        RowsError: a file cannot be read at all, or lacks columns without which no row of it can
            become that.
    """
    for path in paths:
        for line, row, fault in _rows(path, mapping, kind):
            if fault:
                report(BadRow(path, line, UNREADABLE, fault))
                continue
            try:
                made = make(row)
            except ContractError as error:
                report(BadRow(path, line, error.reason, str(error)))
                continue
            yield made


def _rows(path: Path, mapping: Mapping, kind: Kind) -> Iterator[_Numbered]:
    form, packing = format_of(path, unknown="csv")
    if form == "parquet":
        with naming_damage(path):
            refuse_other_columns(path, column_names(path), mapping, kind)
            yield from _parquet(path)
        return
    with opened(path, packing, encoding=mapping.form.encoding) as stream:
        if form == "jsonl":
            yield from _jsonl(path, stream, mapping, kind)
        else:
            yield from _table(path, stream, mapping, kind)


def _jsonl(path: Path, stream: BinaryIO, mapping: Mapping, kind: Kind) -> Iterator[_Numbered]:
    for block in line_blocks(stream):
        # Records that tell of items may come late.
        if block.first == 1 and kind == "event":
            refuse_other_records(path, block.lines, mapping)
        for number, line, fault in lines(iter([block])):
            data = line.removeprefix(BOM) if number == 1 else line
            if fault or data.strip():
                yield number, data, fault


def _table(path: Path, stream: BinaryIO, mapping: Mapping, kind: Kind) -> Iterator[_Numbered]:
    form = mapping.form
    rows = csv_rows(stream, form.separator, form.columns, quoted=form.quoted)
    is_first = True
    for row in rows:
        if is_first:
            refuse_other_columns(path, rows.header or (), mapping, kind)
            is_first = False
        yield row.line, dict(row.cells), row.fault


def _parquet(path: Path) -> Iterator[_Numbered]:
    number = 0
    for batch in parquet_batches(path):
        for fields in batch.to_pylist():
            number += 1
            yield number, fields, ""
