"""What a mapping says: which fields of our contracts come from what of a foreign row.

A mapping is a TOML file (docs/mapping.md); ``model.mapping`` turns rows into events by it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from model.mapped_values import MappingError

READY = files("model").joinpath("mappings")
"""The mappings of logs that many people have, a file each."""
SUFFIX = ".toml"
PAGE = "docs/mapping.md shows every key"

Constant: TypeAlias = str | int | float | bool


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that nobody knows is a typing error, and none must be ineffective unnoticed."""


class Form(_Declared, frozen=True):
    """How files of a log are laid out."""

    separator: str = ","
    """Between the cells of a text file that is not JSONL; one of several characters as well."""
    columns: tuple[str, ...] | None = None
    """Names of the columns, where the files have no header row."""
    typed_header: bool = False
    """Names in the header row have types behind them: ``user_id:token``."""
    quoted: bool = True
    """Cells may stand in double quotes, as in CSV."""
    encoding: str = "utf-8"


class Source(_Declared, frozen=True):
    """Where a field's value comes from, and what becomes of it on the way."""

    column: str | None = None
    first_of: tuple[str, ...] = ()
    """The first of these columns that holds something."""
    joined: tuple[str, ...] = ()
    """These columns as one text, ``:`` between; absent unless all are there."""
    value: Constant | None = None
    """The same for all rows."""
    values: dict[str, Constant] | None = None
    """What stands for what in the log; a value that is not named is an error."""
    otherwise: Constant | None = None
    """Where the column holds nothing, or nothing that ``values`` names."""
    absent: tuple[str, ...] = ()
    """Texts that mean that there is no value."""
    time: str | None = None
    """`s`, `ms`, `us`, `ns`, `iso`, or a format as of ``strptime``."""
    zone: str | None = None
    """Of times that name none, such as `Europe/Berlin`; UTC by default."""
    split: str | None = None
    """What stands between the members of a list that is one text."""
    times: float | None = None
    """A number's factor: .01 for prices in cents."""


FieldSource: TypeAlias = str | Source
Fields: TypeAlias = dict[str, FieldSource]
Condition: TypeAlias = dict[str, Constant | tuple[Constant, ...]]


class Rule(_Declared, frozen=True):
    """What some rows become: those for which all that is given holds."""

    when: Condition = {}
    """Column to the value, or the values, that it must have."""
    has: tuple[str, ...] = ()
    """Columns that must hold something."""
    type: str | None = None
    """Of the events; else the field `type` says it."""
    each: str | None = None
    """Column with a list, each entry of which makes one event; `.name` is a column of the entry."""
    fields: Fields = {}
    """Beside those of all rows, and before them."""


class MappingFile(_Declared, frozen=True):
    """A whole mapping."""

    title: str = ""
    file: Form = Form()
    fields: Fields = {}
    """Of all events."""
    rules: tuple[Rule, ...] = ()
    """The first that fits a row makes its events; without any, all rows are alike."""
    leave_out: Condition = {}
    """Rows that are no events, by column."""
    others: Literal["refuse", "leave_out"] = "refuse"
    """What becomes of rows that no rule fits."""
    items: tuple[Rule, ...] = ()
    """The same for items of the catalogue."""


def ready_names() -> list[str]:
    """Names of the ready mappings, in order."""
    names = [each.name for each in READY.iterdir() if each.name.endswith(SUFFIX)]
    return sorted(name.removesuffix(SUFFIX) for name in names)


def read_mapping_file(name_or_path: str) -> MappingFile:
    """A ready mapping by its name, or one in a TOML file: what ends in `.toml` or has a slash.

    Raises:
        MappingError: there is none, or it is no mapping.
    """
    is_path = name_or_path.endswith(SUFFIX) or "/" in name_or_path
    if not is_path and name_or_path not in ready_names():
        raise MappingError(
            f"there is no ready mapping {name_or_path!r}; name one of {', '.join(ready_names())}, "
            "or a file with a path that ends in .toml"
        )
    try:
        if is_path:
            data = Path(name_or_path).read_bytes()
        else:
            data = READY.joinpath(name_or_path + SUFFIX).read_bytes()
    except OSError as error:
        raise MappingError(
            f"the mapping {name_or_path} cannot be read ({error.strerror or error}); correct it"
        ) from None
    return parse_mapping_file(data, name_or_path)


def parse_mapping_file(data: bytes, name: str) -> MappingFile:
    """The mapping in a TOML text. Raises MappingError with its ``name`` and the key at fault."""
    try:
        tables: Any = msgspec.toml.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{name} is not valid TOML ({error}); correct it") from None
    try:
        return msgspec.convert(tables, MappingFile)
    except msgspec.ValidationError as error:
        raise MappingError(f"{name}: {error}; {PAGE}") from None
