"""The rules of a mapping, made ready to turn rows into events and items."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from model.contract_fields import EVENT_CONTRACTS, ITEM_CONTRACT, Contract, field_of
from model.events import MAX_ITEMS_SHOWN, ContractError
from model.mapped_values import Convert, MappingError, is_absent
from model.mapping_file import PAGE, Fields, FieldSource, Rule
from model.mapping_needs import Need, needs_of
from model.mapping_sources import (
    Read,
    Row,
    column,
    columns_of,
    condition,
    constant,
    converter,
    reading,
    short,
    told,
)

MOST_ENTRIES = MAX_ITEMS_SHOWN
"""Events of one record; as many as an impression has items."""
UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError)
"""What converters and encoders raise; UnicodeEncodeError is a ValueError."""
ITEM = ""
"""Stands for the type where events have one."""


class Part(NamedTuple):
    """How one field is filled."""

    outer: str
    inner: str
    """Of the object in it; empty where the field is no object."""
    told: str
    """The columns, for a person."""
    read: Read
    convert: Convert
    is_required: bool


class Maker(NamedTuple):
    """How the rows that a rule fits become events or items."""

    fits: Callable[[Row], bool]
    type: Read
    parts: dict[str, Sequence[Part]]
    """By type."""
    each: Read | None
    each_told: str
    needs: Sequence[Need]
    """Columns without which it makes nothing."""

    def entries(self, row: Row) -> Sequence[Row]:
        """One for each event or item of a row. Raises ContractError."""
        if self.each is None:
            return (row,)
        found = self.each(row, row)
        if not isinstance(found, list | tuple) or not all(isinstance(at, dict) for at in found):
            raise ContractError("invalid", f"expected a list of objects in `{self.each_told}`")
        if len(found) > MOST_ENTRIES:
            raise ContractError(
                "too_large", f"`{self.each_told}` has {len(found)} entries; at most {MOST_ENTRIES}"
            )
        return found

    def filled(self, row: Row, entry: Row) -> tuple[str, dict[str, Any]]:
        """The type and the fields that have a value. Raises ContractError."""
        kind = self.type(row, entry)
        parts = self.parts.get(kind) if isinstance(kind, str) else None
        if parts is None:
            raise ContractError("invalid", f"{short(kind)} is no type of event of this mapping")
        return kind, _filled(parts, row, entry)


def event_maker(rule: Rule, common: Fields, where: str) -> Maker:
    """Of a rule for events, beside the fields of all events.

    Raises:
        MappingError: it makes no sense; the message says ``where``, and what to do.
    """
    fields = {**common, **rule.fields}
    of_type = fields.pop("type", None)
    if rule.type is not None:
        kinds, of_type = [_known(rule.type, where)], rule.type
        read, is_strict = constant(rule.type), True
    elif of_type is None:
        raise MappingError(f"{where}: no `type` of event; write one, or its column")
    else:
        kinds, is_strict = _kinds(of_type, where)
        read = reading(of_type, where)
    _refuse_unknown(fields, list(EVENT_CONTRACTS.values()), where)
    parts: dict[str, Sequence[Part]] = {}
    for kind in kinds:
        contract = EVENT_CONTRACTS[kind]
        # Of a column that may name any type, those are meant for which there is enough.
        if (missing := _missing(fields, contract)) is None:
            parts[kind] = _parts(fields, contract, rule.each is not None, where)
        elif is_strict:
            raise MappingError(
                f"{where}: a `{kind}` has no `{missing}`; say where it comes from, {PAGE}"
            )
    contracts = [EVENT_CONTRACTS[kind] for kind in parts]
    return _maker(rule, read, parts, needs_of(rule, {**common, **rule.fields}, contracts))


def item_maker(rule: Rule, where: str) -> Maker:
    """The same of a rule for items."""
    if rule.type is not None or "type" in rule.fields:
        raise MappingError(f"{where}: an item has no `type`; remove it")
    _refuse_unknown(rule.fields, [ITEM_CONTRACT], where)
    if (missing := _missing(rule.fields, ITEM_CONTRACT)) is not None:
        raise MappingError(f"{where}: no `{missing}`; say where it comes from, {PAGE}")
    parts = _parts(rule.fields, ITEM_CONTRACT, rule.each is not None, where)
    needs = needs_of(rule, rule.fields, [ITEM_CONTRACT])
    return _maker(rule, constant(ITEM), {ITEM: parts}, needs)


def _maker(
    rule: Rule, of_type: Read, parts: dict[str, Sequence[Part]], needs: Sequence[Need]
) -> Maker:
    asked, has = condition(rule.when), [column(each) for each in rule.has]

    def fits(row: Row) -> bool:
        if asked is not None and not asked(row):
            return False
        return not any(is_absent(read(row, row)) for read in has)

    each = None if rule.each is None else column(rule.each)
    return Maker(fits, of_type, parts, each, rule.each or "", needs)


def _filled(parts: Sequence[Part], row: Row, entry: Row) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for outer, inner, columns, read, convert, is_required in parts:
        value = read(row, entry)
        if is_absent(value):
            if is_required:
                raise ContractError("invalid", f"nothing in {columns}, where `{outer}` comes from")
            continue
        try:
            value = convert(value)
        except UNREADABLE as error:
            raise ContractError("invalid", f"{columns} is {short(value)}: {error}") from None
        if inner:
            filled.setdefault(outer, {})[inner] = value
        else:
            filled[outer] = value
    return filled


def _known(kind: str, where: str) -> str:
    if kind not in EVENT_CONTRACTS:
        raise MappingError(
            f"{where}: {kind!r} is no type of event; write one of {', '.join(EVENT_CONTRACTS)}"
        )
    return kind


def _kinds(of_type: FieldSource, where: str) -> tuple[list[str], bool]:
    """The types that a source can give, and whether it names them itself."""
    if isinstance(of_type, str) or (of_type.values is None and of_type.value is None):
        return list(EVENT_CONTRACTS), False
    given = [of_type.value, of_type.otherwise, *(of_type.values or {}).values()]
    return [_known(str(each), where) for each in given if each is not None], True


def _refuse_unknown(fields: Fields, contracts: Sequence[Contract], where: str) -> None:
    for name in fields:
        if not any(field_of(contract, name) for contract in contracts):
            known = sorted({each for contract in contracts for each in contract})
            raise MappingError(
                f"{where}: there is no field `{name}`; name one of {', '.join(known)}"
            )


def _missing(fields: Fields, contract: Contract) -> str | None:
    """A required field that nothing fills; an event without an id gets one."""
    for name, field in contract.items():
        is_given = name in fields or any(each.startswith(f"{name}.") for each in fields)
        if field.is_required and name != "event_id" and not is_given:
            return name
    return None


def _parts(fields: Fields, contract: Contract, has_entries: bool, where: str) -> list[Part]:
    """Of the fields that this contract has, in its order."""
    order = {name: at for at, name in enumerate(contract)}

    def place(name: str) -> tuple[int, str]:
        return order.get(name, order.get(name.partition(".")[0], len(order))), name

    made: list[Part] = []
    for name in sorted(fields, key=place):
        found = field_of(contract, name)
        if found is None:
            continue
        source = fields[name]
        if not has_entries and any(each.startswith(".") for each in columns_of(source)):
            raise MappingError(f"{where}: `{name}` is of an entry, and there is no `each`; add it")
        outer, _, inner = name.partition(".")
        made.append(
            Part(
                outer,
                inner,
                told(source) or f"`{name}`",
                reading(source, f"{where}: `{name}`"),
                converter(found.kind, source, f"{where}: `{name}`"),
                found.is_required and name != "event_id",
            )
        )
    return made
