"""The fields of our contracts, as what fills them from foreign rows has to know them."""

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from msgspec import NODEFAULT, inspect

from model.events import Event
from model.items import Item

Kind: TypeAlias = Literal["text", "integer", "number", "boolean", "list", "object", "time", "any"]
_KINDS: dict[type[inspect.Type], Kind] = {
    inspect.StrType: "text",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.VarTupleType: "list",
    inspect.DictType: "object",
    inspect.DateTimeType: "time",
}


class ContractField(NamedTuple):
    """A field, or one of the object that it holds: ``context.country``."""

    kind: Kind
    is_required: bool


Contract: TypeAlias = dict[str, ContractField]
"""By name, in the order of the contract."""


def _contract(struct: inspect.StructType) -> Contract:
    found: Contract = {}
    for field in struct.fields:
        is_required = field.default is NODEFAULT and field.default_factory is NODEFAULT
        members = _members(field.type)
        inner = [each for each in members if isinstance(each, inspect.StructType)]
        if inner:
            for name, part in _contract(inner[0]).items():
                found[f"{field.encode_name}.{name}"] = part
        else:
            kinds = {_KINDS[type(each)] for each in members if type(each) in _KINDS}
            # A time is a number or a text.
            kind = "time" if "time" in kinds else kinds.pop()
            found[field.encode_name] = ContractField(kind, is_required)
    return found


def _members(kind: inspect.Type) -> list[inspect.Type]:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return [member for each in kind.types for member in _members(each)]
    return [kind]


def _contract_of(struct: Any) -> Contract:
    found = inspect.type_info(struct)
    assert isinstance(found, inspect.StructType)
    return _contract(found)


EVENT_CONTRACTS: dict[str, Contract] = {
    str(struct.__struct_config__.tag): _contract_of(struct) for struct in get_args(Event)
}
"""By the type of event."""
ITEM_CONTRACT: Contract = _contract_of(Item)


def field_of(contract: Contract, name: str) -> ContractField | None:
    """The field of that name; of an object with names of its own, any: ``attributes.age``."""
    if (found := contract.get(name)) is not None:
        return found
    outer, _, inner = name.partition(".")
    if inner and (outer_field := contract.get(outer)) and outer_field.kind == "object":
        return ContractField("any", False)
    return None
