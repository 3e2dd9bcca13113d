"""Where a field's value stands in a foreign row, as functions of the row."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from model.contract_fields import Kind
from model.events import ContractError
from model.mapped_values import (
    Convert,
    MappingError,
    any_of,
    boolean_of,
    integer_of,
    is_absent,
    list_of,
    number_of,
    object_of,
    text_of,
    time_of,
)
from model.mapping_file import PAGE, Condition, FieldSource, Source
from model.mapping_path import Step, follow, steps_of

Row: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[[Row, Row], Any]
"""Of a row and one entry of its list."""

_CONVERTERS: dict[Kind, Convert] = {
    "text": text_of,
    "integer": integer_of,
    "number": number_of,
    "boolean": boolean_of,
    "object": object_of,
    "any": any_of,
}


def columns_of(source: FieldSource) -> list[str]:
    """The columns that a source looks at."""
    if isinstance(source, str):
        return [source]
    return [*([source.column] if source.column else ()), *source.first_of, *source.joined]


def told(source: FieldSource) -> str:
    """The same for a person; empty where there are none."""
    return ", ".join(f"`{column}`" for column in columns_of(source))


def column(path: str) -> Read:
    """Of a path into objects and lists; a column that has the whole path for a name comes first.

    What begins with a dot is looked for in the entry of the row's list.
    """
    in_entry = path.startswith(".")
    name = path.removeprefix(".")
    steps = steps_of(name)

    def plain(row: Row, entry: Row) -> Any:
        return (entry if in_entry else row).get(name)

    def nested(row: Row, entry: Row) -> Any:
        found = entry if in_entry else row
        return found[name] if name in found else follow(found, steps)

    return plain if steps == [Step(name)] else nested


def constant(value: Any) -> Read:
    """The same of all rows."""
    return lambda row, entry: value


def reading(source: FieldSource, where: str) -> Read:
    """What gives the value of a source, before it is converted.

    It raises ContractError for a value that the mapping does not name. Raises MappingError, which
    says ``where``, for a source that is none.
    """
    if isinstance(source, str):
        return column(source)
    ways = (source.column, source.first_of, source.joined, source.value)
    if sum(way not in (None, ()) for way in ways) != 1:
        raise MappingError(
            f"{where}: a field needs one of `column`, `first_of`, `joined` and `value`; {PAGE}"
        )
    if source.value is not None:
        return constant(source.value)
    reads = [column(each) for each in columns_of(source)]
    read = _joined(reads) if source.joined else reads[0] if len(reads) == 1 else _first(reads)
    if not (source.absent or source.values is not None or source.otherwise is not None):
        return read
    return _translated(read, source)


def converter(kind: Kind, source: FieldSource, where: str) -> Convert:
    """To a value of that kind. Raises MappingError where the source asks for what it cannot be."""
    given = Source(column=source) if isinstance(source, str) else source
    if (given.time or given.zone) and kind != "time":
        raise MappingError(f"{where} is no time; remove `time` and `zone`")
    if given.split and kind != "list":
        raise MappingError(f"{where} is no list; remove `split`")
    if given.times is not None and kind != "number":
        raise MappingError(f"{where} is no number; remove `times`")
    if kind == "time":
        try:
            return time_of(given.time, given.zone)
        except MappingError as error:
            raise MappingError(f"{where}: {error}") from None
    if kind == "list":
        return list_of(given.split)
    if given.times is not None:
        factor = given.times
        return lambda value: number_of(value) * factor
    return _CONVERTERS[kind]


def condition(given: Condition) -> Callable[[Row], bool] | None:
    """Whether all columns have one of their values; None where nothing is asked for."""
    if not given:
        return None
    tests = [
        (column(name), frozenset(map(text_of, one if isinstance(one, tuple) else (one,))))
        for name, one in given.items()
    ]

    def holds(row: Row) -> bool:
        for read, allowed in tests:
            value = read(row, row)
            if value is None or isinstance(value, list | dict) or text_of(value) not in allowed:
                return False
        return True

    return holds


def short(value: object) -> str:
    """A value for a person."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _first(reads: Sequence[Read]) -> Read:
    def read(row: Row, entry: Row) -> Any:
        for each in reads:
            if not is_absent(value := each(row, entry)):
                return value
        return None

    return read


def _joined(reads: Sequence[Read]) -> Read:
    def read(row: Row, entry: Row) -> Any:
        values = [each(row, entry) for each in reads]
        if any(is_absent(value) for value in values):
            return None
        return ":".join(text_of(value) for value in values)

    return read


def _translated(read: Read, source: Source) -> Read:
    values, absent, otherwise = source.values, frozenset(source.absent), source.otherwise
    columns = told(source)

    def translate(row: Row, entry: Row) -> Any:
        value = read(row, entry)
        if is_absent(value) or (absent and text_of(value) in absent):
            return otherwise
        if values is None:
            return value
        found = values.get(text_of(value), otherwise)
        if found is None:
            raise ContractError(
                "invalid", f"{columns} is {short(value)}, of which the mapping says nothing"
            )
        return found

    return translate
