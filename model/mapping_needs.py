"""Which columns a rule of a mapping cannot do without: a table that lacks them is none of its."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from model.contract_fields import Contract
from model.mapping_file import Fields, FieldSource, Rule
from model.mapping_path import steps_of
from model.mapping_sources import columns_of


class Need(NamedTuple):
    """Columns of which one has to be there."""

    columns: Sequence[str]
    use: str
    """To a person."""

    def is_met(self, given: Collection[str]) -> bool:
        """Whether one of the columns is there, or the one that may hold it."""
        return any(
            each.startswith(".") or each in given or steps_of(each)[0].name in given
            for each in self.columns
        )

    def __str__(self) -> str:
        return f"{' or '.join(f'`{each}`' for each in self.columns)} {self.use}"


def needs_of(rule: Rule, fields: Fields, contracts: Collection[Contract]) -> list[Need]:
    """What a rule asks for, and where the fields come from that all its contracts want.

    Args:
        rule: for events or items.
        fields: its own and those of all events.
        contracts: of the types of event that it can make, or of items.
    """
    tested = [*rule.when, *rule.has, *([rule.each] if rule.each else ())]
    needs = [Need([each], "of which its rule asks") for each in tested]
    if rule.type is None and "type" in fields:
        needs += _columns("type", fields["type"])
    for name, source in fields.items():
        # An event without an id gets one.
        if name != "event_id" and all(
            name in contract and contract[name].is_required for contract in contracts
        ):
            needs += _columns(name, source)
    return needs


def _columns(name: str, source: FieldSource) -> Iterator[Need]:
    use = f"for `{name}`"
    if isinstance(source, str):
        yield Need([source], use)
    elif source.value is None and source.otherwise is None:
        if source.joined:
            yield from (Need([each], use) for each in source.joined)
        else:
            yield Need(columns_of(source), use)
