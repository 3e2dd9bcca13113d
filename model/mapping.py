"""Foreign rows and records -> events of the contract and items of the catalogue.

What a mapping says stands in ``model.mapping_file``. The same row makes the same bytes each time:
an event that has no id of its own in the log gets one that is a hash of the row's content, whatever
the order of the columns and the types of the cells.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NoReturn

import msgspec

from model.contract_fields import EVENT_CONTRACTS
from model.events import ContractError
from model.mapped_values import MappingError as MappingError
from model.mapped_values import canonical
from model.mapping_file import PAGE, MappingFile, Rule, read_mapping_file
from model.mapping_rules import UNREADABLE, Maker, event_maker, item_maker
from model.mapping_sources import Row, condition, short

_ID_BYTES = 16
_encoder = msgspec.json.Encoder(decimal_format="number")
_sorted = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


class Mapping:
    """Makes events of rows.

    Args:
        declared: what it says.
        name: for errors.

    Raises:
        MappingError: a key of it makes no sense; the message says which, and what to do.
    """

    def __init__(self, declared: MappingFile, name: str = "the mapping") -> None:
        self.name = name
        self.title = declared.title
        try:
            "".encode(declared.file.encoding)
        except LookupError:
            raise MappingError(
                f"{name}: there is no `encoding` {declared.file.encoding!r}; write utf-8, latin-1 "
                "or another that Python knows"
            ) from None
        if not declared.file.separator:
            raise MappingError(f"{name}: `separator` is empty; write what stands between cells")
        self.form = declared.file
        """How files of it are laid out."""
        self.digest = blake2b(_sorted.encode(declared), digest_size=_ID_BYTES).hexdigest()
        """Tells mappings apart that may make different events."""
        self.plain = _plain(declared)
        """Where it only renames: field of the contract -> column. None where it does more, so that
        only ``events`` knows what a row is. An event without an id gets one from ``events`` alone.
        """
        if declared.others not in ("refuse", "leave_out"):
            raise MappingError(
                f"{name}: `others` is {declared.others!r}; write refuse or leave_out"
            )
        self._refuses = declared.others == "refuse"
        self._is_left_out = condition(declared.leave_out)
        rules = declared.rules or ((Rule(),) if declared.fields else ())
        self._events = [
            event_maker(rule, declared.fields, f"{name}: rule {number}")
            for number, rule in enumerate(rules, 1)
        ]
        self._items = [
            item_maker(rule, f"{name}: items {number}")
            for number, rule in enumerate(declared.items, 1)
        ]
        if not self._events and not self._items:
            raise MappingError(f"{name} has neither `fields` nor `rules` nor `items`; {PAGE}")

    @classmethod
    def named(cls, name_or_path: str) -> "Mapping":
        """A ready one by name, or that of a TOML file. Raises MappingError."""
        return cls(read_mapping_file(name_or_path), name_or_path)

    @classmethod
    def renaming(cls, renames: Iterable[str]) -> "Mapping":
        """Rows of our own contract whose columns have other names: ``column=field`` each.

        Raises:
            MappingError: one is written otherwise, or names no field of events.
        """
        columns = {name: name for contract in EVENT_CONTRACTS.values() for name in contract}
        columns["type"] = "type"
        for each in renames:
            column, equals, name = each.rpartition("=")
            if not (equals and column and name):
                raise MappingError(f"{each!r} renames nothing; write column=field")
            columns[name] = column
        return cls(MappingFile(fields=dict(columns)), "--map")

    @property
    def makes_events(self) -> bool:
        """Whether it says anything of events."""
        return bool(self._events)

    @property
    def makes_items(self) -> bool:
        """Whether it says anything of items."""
        return bool(self._items)

    @property
    def refuses_others(self) -> bool:
        """Whether a row that no rule fits is a bad one."""
        return self._refuses

    def lacking(self, columns: Iterable[str], *, of_items: bool = False) -> str:
        """What a table lacks without which no row of it makes an event; empty where it may.

        Args:
            columns: that the table has; of records, their outermost names.
            of_items: ask for items instead of events.
        """
        given = {self._name_of(each) for each in columns}
        makers = self._items if of_items else self._events
        lacks = [[str(need) for need in maker.needs if not need.is_met(given)] for maker in makers]
        fewest = min(lacks, key=lambda each: len(each), default=[])
        return ", ".join(dict.fromkeys(fewest))

    def _name_of(self, column: str) -> str:
        return column.partition(":")[0] if self.form.typed_header else column

    def events(self, fields: Row) -> list[bytes]:
        """The JSON bytes of the events in a row; none of a row that is left out on purpose.

        They are to be decoded by ``model.events.decode_event``, which may still refuse them.

        Raises:
            ContractError: the row cannot be understood; the message names the column.
        """
        try:
            if self.form.typed_header:
                fields = _without_types(fields)
            if self._is_left_out is not None and self._is_left_out(fields):
                return []
            for maker in self._events:
                if maker.fits(fields):
                    return _events(maker, fields)
        except UNREADABLE as error:
            _refuse(error)
        if self._refuses:
            has = short(", ".join(sorted(fields)))
            raise ContractError("invalid", f"no rule of {self.name} fits this row, which has {has}")
        return []

    def items(self, fields: Row) -> list[bytes]:
        """The JSON bytes of the items in a row, none where it tells of none; raises as above."""
        try:
            if self.form.typed_header:
                fields = _without_types(fields)
            for maker in self._items:
                if maker.fits(fields):
                    filled = [maker.filled(fields, each) for each in maker.entries(fields)]
                    return [_encoder.encode(item) for _, item in filled]
        except UNREADABLE as error:
            _refuse(error)
        return []

    def events_of_record(self, value: bytes | None) -> list[bytes]:
        """``events`` of a JSON record. Raises ContractError."""
        return self.events(_row(value))

    def items_of_record(self, value: bytes | None) -> list[bytes]:
        """``items`` of a JSON record. Raises ContractError."""
        return self.items(_row(value))


def _events(maker: Maker, row: Row) -> list[bytes]:
    made: list[bytes] = []
    derived = ""
    for number, entry in enumerate(maker.entries(row)):
        try:
            kind, event = maker.filled(row, entry)
        except ContractError as error:
            if maker.each is None:
                raise
            where = f"entry {number} of `{maker.each_told}`"
            raise ContractError(error.reason, f"{where}: {error}") from None
        event_id = event.get("event_id")
        if event_id is None:
            derived = derived or blake2b(canonical(row), digest_size=_ID_BYTES).hexdigest()
            event_id = derived
        # Of several events of a row each needs an id of its own.
        event["event_id"] = event_id if maker.each is None else f"{event_id}:{number}"
        event["type"] = kind
        made.append(_encoder.encode(event))
    return made


def _without_types(row: Row) -> Row:
    return {name.partition(":")[0]: value for name, value in row.items()}


def _row(value: bytes | None) -> Row:
    if value is None:
        raise ContractError("null_value", "a record without a value")
    try:
        row = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError("malformed_json", str(error)) from None
    if not isinstance(row, dict):
        raise ContractError("invalid", "expected an object")
    return row


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, ContractError):
        raise error
    raise ContractError("invalid", f"the row cannot be written as an event ({error})") from None


def _plain(declared: MappingFile) -> dict[str, str] | None:
    if declared.rules or declared.leave_out or not declared.fields:
        return None
    plain = {name: each for name, each in declared.fields.items() if isinstance(each, str)}
    return plain if len(plain) == len(declared.fields) else None
