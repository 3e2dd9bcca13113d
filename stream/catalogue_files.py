"""Catalogue files, ours and those of others, as items."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from model.items import Item, decode_item
from model.mapping import Mapping
from stream.file_columns import mapping_help, names_in, refuse_other_columns
from stream.mapped_items import mapped_items
from stream.mapped_rows import ForeignRow
from stream.rows import BadRow, RowsError, decode_rows, read_rows

LOOK = 1_000
"""So many rows that tell of no item at all are not those of an item's quiet hour."""


def read_items(
    paths: Sequence[Path], report: Callable[[BadRow], None], mapping: Mapping | None = None
) -> Iterator[Item]:
    """The items of files; ``report`` gets each row that breaks the contract.

    Args:
        paths: JSONL or CSV (plain, gzip, zstd) or Parquet.
        report: called in file order.
        mapping: what makes items of rows; None where they are items.

    Raises:
        MappingError: the mapping says nothing of items.
        RowsError: a file cannot be read at all, or is not what it was taken for: a table lacks
            columns without which it tells of no item, or no row of all the files does.
    """
    look = _Look(paths, report, mapping)
    found = False
    for item in _items(paths, look, mapping):
        found = True
        yield item
    if not found:
        look.refuse_foreign()


def catalogue_items(
    paths: Sequence[Path], report: Callable[[BadRow], None], mapping: Mapping | None = None
) -> list[Item]:
    """The same in a list; by the mapping where it makes items. Raises RowsError."""
    makes_items = mapping is not None and mapping.makes_items
    return list(read_items(paths, report, mapping if makes_items else None))


def _items(paths: Sequence[Path], look: "_Look", mapping: Mapping | None) -> Iterator[Item]:
    if mapping is not None:
        yield from mapped_items(paths, mapping, look.report, look.see)
        return
    for path in paths:
        rows = read_rows(path, lambda path, names: refuse_other_columns(path, names, None, "item"))
        for _, item in decode_rows(rows, decode_item, look.report):
            yield item


class _Look:
    """What rows hold, for a person who wonders why none tells of an item."""

    def __init__(
        self, paths: Sequence[Path], report: Callable[[BadRow], None], mapping: Mapping | None
    ) -> None:
        self._files = ", ".join(map(str, paths))
        self._report, self._mapping = report, mapping
        self._rows = self._bad = 0
        self._first: BadRow | None = None
        self._names: dict[str, None] = {}

    def see(self, row: ForeignRow) -> None:
        """Take a row that can be read."""
        self._rows += 1
        if self._rows <= LOOK:
            self._names |= dict.fromkeys(names_in([row]) if isinstance(row, bytes) else row)

    def report(self, row: BadRow) -> None:
        """Take a bad one."""
        self._bad += 1
        self._first = self._first or row
        self._report(row)

    def refuse_foreign(self) -> None:
        """Raise RowsError where the files are most likely no catalogue."""
        if self._names:
            refuse_other_columns(self._files, self._names, self._mapping, "item")
        first = "" if self._first is None else f"; the first bad one is {self._first}"
        if self._rows >= LOOK or self._bad >= max(self._rows, 1):
            raise RowsError(
                f"no row of {self._files} tells of an item{first}: {mapping_help(self._mapping)}"
            )
