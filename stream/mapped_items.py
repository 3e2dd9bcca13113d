"""Items of the catalogue out of the files of others, by a mapping."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from model.events import ContractError
from model.items import Item, decode_item
from model.mapping import Mapping, MappingError
from stream.csv_rows import csv_rows
from stream.lines import line_blocks, lines
from stream.parquet_rows import parquet_batches
from stream.rows import BOM, BadRow, format_of, naming_damage, opened

UNREADABLE = "unreadable"


def mapped_items(
    paths: Sequence[Path], mapping: Mapping, report: Callable[[BadRow], None]
) -> Iterator[Item]:
    """The items that rows tell of; ``report`` gets each row that cannot be understood.

    A log tells of an item many times: it is handed on again only where it has changed.

    Raises:
        MappingError: the mapping says nothing of items.
        RowsError: a file cannot be read at all.
    """
    if not mapping.makes_items:
        raise MappingError(f"the mapping {mapping.name} makes no items; give it a table [[items]]")
    last: dict[str, bytes] = {}
    for path in paths:
        for line, row, fault in _rows(path, mapping):
            if fault:
                report(BadRow(path, line, UNREADABLE, fault))
                continue
            try:
                made = (
                    mapping.items_of_record(row) if isinstance(row, bytes) else mapping.items(row)
                )
                items = [(data, decode_item(data)) for data in made]
            except ContractError as error:
                report(BadRow(path, line, error.reason, str(error)))
                continue
            for data, item in items:
                digest = blake2b(data, digest_size=8).digest()
                if last.get(item.item_id) != digest:
                    last[item.item_id] = digest
                    yield item


def _rows(path: Path, mapping: Mapping) -> Iterator[tuple[int, bytes | dict[str, Any], str]]:
    """Number, content and fault of each row."""
    form, packing = format_of(path, unknown="csv")
    if form == "parquet":
        with naming_damage(path):
            yield from _parquet(path)
        return
    with opened(path, packing, encoding=mapping.form.encoding) as stream:
        if form == "jsonl":
            for number, line, fault in lines(line_blocks(stream)):
                data = line.removeprefix(BOM) if number == 1 else line
                if fault or data.strip():
                    yield number, data, fault
            return
        layout = mapping.form
        for row in csv_rows(stream, layout.separator, layout.columns, quoted=layout.quoted):
            yield row.line, dict(row.cells), row.fault


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    number = 0
    for batch in parquet_batches(path):
        for fields in batch.to_pylist():
            number += 1
            yield number, fields, ""
