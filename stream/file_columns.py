"""Whether the columns of a file can make events at all: told once, and not row by row."""

from collections.abc import Iterable, Sequence

import msgspec

from model.mapping import Mapping
from stream.rows import NOT_UTF_8, RowsError
from stream.sound_rows import REQUIRED

MOST_TOLD = 30
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def refuse_other_columns(name: object, columns: Iterable[str], mapping: Mapping | None) -> None:
    """Raise RowsError where no row of a table can become an event.

    Args:
        name: of the file.
        columns: of the table.
        mapping: what makes events of its rows; None: they are events.
    """
    has = list(columns)
    if any("\udc80" <= letter <= "\udcff" for each in has for letter in each):
        raise RowsError(f"{name}: {NOT_UTF_8}")
    if mapping is not None:
        lacks, help_ = mapping.lacking(has), f"correct {mapping.name}, or name another mapping"
    else:
        lacks = ", ".join(f"`{each}`" for each in REQUIRED if each not in has)
        help_ = "say with --mapping or --map what stands for it (docs/mapping.md)"
    if lacks:
        more = f" and {len(has) - MOST_TOLD:,} more" if len(has) > MOST_TOLD else ""
        told = ", ".join(f"`{each}`" for each in has[:MOST_TOLD])
        raise RowsError(f"{name} has no column {lacks}; it has {told or 'none'}{more}: {help_}")


def refuse_other_records(name: object, rows: Iterable[bytes], mapping: Mapping | None) -> None:
    """The same by the first records of a file in JSON lines, whose names may differ."""
    names: dict[str, None] = {}
    for row in rows:
        try:
            names |= dict.fromkeys(_decoder.decode(row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # a bad row, which tells nothing of the others
    if names and (mapping is None or mapping.refuses_others):
        refuse_other_columns(name, names, mapping)


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
