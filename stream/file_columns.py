"""Whether the columns of a file can make events at all: told once, and not row by row."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from model.mapping import Mapping
from stream.rows import NOT_UTF_8, RowsError
from stream.sound_rows import REQUIRED

Kind: TypeAlias = Literal["event", "item"]
"""What rows are to become."""

MOST_TOLD = 30
_NEEDED: dict[Kind, Sequence[str]] = {"event": REQUIRED, "item": ("item_id",)}
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def refuse_other_columns(
    name: object, columns: Iterable[str], mapping: Mapping | None, kind: Kind = "event"
) -> None:
    """Raise RowsError where no row of a table can become an event, or an item.

    Args:
        name: of the file.
        columns: of the table.
        mapping: what makes events or items of its rows; None: they are some.
        kind: what its rows are to become.
    """
    has = list(columns)
    if any("\udc80" <= letter <= "\udcff" for each in has for letter in each):
        raise RowsError(f"{name}: {NOT_UTF_8}")
    if mapping is not None:
        lacks = mapping.lacking(has, of_items=kind == "item")
    else:
        lacks = ", ".join(f"`{each}`" for each in _NEEDED[kind] if each not in has)
    if lacks:
        told = told_names(has)
        raise RowsError(f"{name} has no column {lacks}; it has {told}: {mapping_help(mapping)}")


def refuse_other_records(name: object, rows: Iterable[bytes], mapping: Mapping | None) -> None:
    """The same by the first records of a file in JSON lines, whose names may differ."""
    names = names_in(rows)
    if names and (mapping is None or mapping.refuses_others):
        refuse_other_columns(name, names, mapping)


def names_in(rows: Iterable[bytes]) -> list[str]:
    """The outermost names of JSON objects, each once; of a row that is none there are none."""
    names: dict[str, None] = {}
    for row in rows:
        try:
            names |= dict.fromkeys(_decoder.decode(row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # a bad row, which tells nothing of the others
    return list(names)


def told_names(names: Sequence[str]) -> str:
    """To a person."""
    more = f" and {len(names) - MOST_TOLD:,} more" if len(names) > MOST_TOLD else ""
    return f"{', '.join(f'`{each}`' for each in names[:MOST_TOLD]) or 'none'}{more}"


def mapping_help(mapping: Mapping | None) -> str:
    """What to do where rows are not what they were taken for."""
    if mapping is None:
        return "say with --mapping what stands for it (docs/mapping.md)"
    return f"correct {mapping.name}, or name another mapping"


def refuse_other_layout(
    name: object, rows: Iterable[tuple[bytes, str]], columns: Sequence[str] | None
) -> None:
    """Raise RowsError where none of the first rows has the cells that a mapping names.

    Args:
        name: of the file.
        rows: as they stand in the file, and what is wrong with them.
        columns: that the mapping names; None: the file does.
    """
    found = list(rows)
    if columns and found and all(fault for _, fault in found):
        raise RowsError(
            f"{name} has no row of {len(columns)} cells; the first is {found[0][0][:200]!r}: "
            "correct `separator`, `columns` and `quoted` in the table [file] of the mapping"
        )
