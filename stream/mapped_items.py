"""Items of the catalogue out of the files of others, by a mapping."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from model.items import Item, decode_item
from model.mapping import Mapping, MappingError
from stream.mapped_rows import ForeignRow, mapped_rows
from stream.rows import BadRow


def mapped_items(
    paths: Sequence[Path],
    mapping: Mapping,
    report: Callable[[BadRow], None],
    see: Callable[[ForeignRow], None] = lambda row: None,
) -> Iterator[Item]:
    """The items that rows tell of; ``report`` gets each row that cannot be understood, and ``see``
    each that can be read.

    A log tells of an item many times: it is handed on again only where it has changed.

    Raises:
        MappingError: the mapping says nothing of items.
        RowsError: a file cannot be read at all, or lacks columns without which it has no items.
    """
    if not mapping.makes_items:
        raise MappingError(f"the mapping {mapping.name} makes no items; give it a table [[items]]")

    def make(row: ForeignRow) -> list[tuple[bytes, Item]]:
        see(row)
        made = mapping.items_of_record(row) if isinstance(row, bytes) else mapping.items(row)
        return [(data, decode_item(data)) for data in made]

    last: dict[str, bytes] = {}
    for items in mapped_rows(paths, mapping, "item", make, report):
        for data, item in items:
            digest = blake2b(data, digest_size=8).digest()
            if last.get(item.item_id) != digest:
                last[item.item_id] = digest
                yield item
