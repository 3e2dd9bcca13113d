"""Files of others, row by row, as what a mapping makes of each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from model.events import ContractError
from model.mapping_file import Form
from stream.csv_rows import csv_rows
from stream.lines import line_blocks, lines
from stream.parquet_rows import parquet_batches
from stream.rows import BOM, BadRow, format_of, naming_damage, opened

UNREADABLE = "unreadable"

T = TypeVar("T")
ForeignRow: TypeAlias = bytes | dict[str, Any]
"""The line of a JSONL file, or the cells of a table's row by column."""


def mapped_rows(
    paths: Sequence[Path],
    form: Form,
    make: Callable[[ForeignRow], list[T]],
    report: Callable[[BadRow], None],
) -> Iterator[list[T]]:
    """What ``make`` makes of each row; ``report`` gets each for which it raises ContractError.

    Args:
        paths: JSONL or Parquet, if their names say so, else tables of text.
        form: how those are laid out.
        make: of a row.
        report: gets rows that cannot be read, too.

    Raises:
        RowsError: a file cannot be read at all.
    """
    for path in paths:
        for line, row, fault in _rows(path, form):
            if fault:
                report(BadRow(path, line, UNREADABLE, fault))
                continue
            try:
                made = make(row)
            except ContractError as error:
                report(BadRow(path, line, error.reason, str(error)))
                continue
            yield made


def _rows(path: Path, layout: Form) -> Iterator[tuple[int, ForeignRow, str]]:
    """Number, content and fault of each row."""
    form, packing = format_of(path, unknown="csv")
    if form == "parquet":
        with naming_damage(path):
            yield from _parquet(path)
        return
    with opened(path, packing, encoding=layout.encoding) as stream:
        if form == "jsonl":
            for number, line, fault in lines(line_blocks(stream)):
                data = line.removeprefix(BOM) if number == 1 else line
                if fault or data.strip():
                    yield number, data, fault
            return
        for row in csv_rows(stream, layout.separator, layout.columns, quoted=layout.quoted):
            yield row.line, dict(row.cells), row.fault


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    number = 0
    for batch in parquet_batches(path):
        for fields in batch.to_pylist():
            number += 1
            yield number, fields, ""
