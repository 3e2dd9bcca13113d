"""Events of files in columns: time, id and JSON bytes, checked.

Files are read from front to end; within a block, rows that their columns vouch for come before the
others. Whoever wants an order sorts.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
from pyarrow import compute as pc

from model.events import ContractError, Event, decode_event
from model.mapping import Mapping
from stream.csv_rows import CsvRow, csv_rows, typed_fields
from stream.csv_tables import CsvTable, csv_parts
from stream.event_json import json_columns
from stream.file_columns import (
    refuse_other_columns,
    refuse_other_layout,
    refuse_other_records,
)
from stream.lines import DamageError, line_blocks
from stream.parquet_rows import (
    column_names,
    parquet_batches,
    renamed_columns,
    rows_one_by_one,
    with_numbered_times,
)
from stream.replay.sorted_runs import COLUMNS, Events
from stream.rows import BOM, NO_JSON, BadRow, bad_row, format_of, json_of, naming_damage, opened
from stream.sound_rows import CONTRACT_FIELDS, sound_rows

ROWS = 4_096
"""Decoded at a time."""

_BLANK = b" \t\r"
"""What JSON skips, line ends apart."""

T = TypeVar("T")


class EventReader:
    """Reads files; ``report`` gets every row that breaks the contract.

    Each row is checked by ``decode_event``, except those of Parquet files whose columns show that
    it would take them (`sound_rows`).

    Args:
        report: called in file order.
        now_ms: the present, epoch milliseconds; events much later than that are refused.
        mapping: what makes events of a row; None where rows are events.
    """

    def __init__(
        self,
        report: Callable[[BadRow], None],
        now_ms: int,
        mapping: Mapping | None = None,
    ) -> None:
        self._report = report
        self._now_ms = now_ms
        self._mapping = mapping
        self.rows = 0
        """Read so far."""
        self.bad: Counter[str] = Counter()
        """Rows left out, by reason."""
        self.unmapped = 0
        """Rows of which the mapping makes no event, on purpose."""

    @property
    def sound(self) -> int:
        """Rows that have made events."""
        return self.rows - self.bad.total() - self.unmapped

    def read(self, path: Path, name: Path | None = None) -> Generator[Events, None, None]:
        """The events of a file.

        Args:
            path: the file.
            name: what it is called in reports, if not so.

        Raises:
            RowsError: it cannot be read, or not to its end; the events before have been handed on.
            What ``report`` raises.
        """
        name = name or path
        form, packing = format_of(path, unknown="" if self._mapping is None else "csv")
        if form == "parquet":
            with naming_damage(name):
                yield from self._parquet(path, name)
            return
        encoding = "utf-8" if self._mapping is None else self._mapping.form.encoding
        with opened(path, packing, encoding=encoding, name=name) as stream:
            if form == "jsonl":
                yield from self._jsonl(stream, name)
            elif self._mapping is None:
                yield from self._csv(stream, name)
            else:
                yield from self._foreign_csv(stream, name, self._mapping)

    def _jsonl(self, stream: BinaryIO, name: Path) -> Iterator[Events]:
        for first, block, fault in line_blocks(stream):
            rows = [line.strip(_BLANK) for line in block]
            if first == 1 and rows:
                rows[0] = rows[0].removeprefix(BOM)
            numbers: Sequence[int] = range(first, first + len(rows))
            if not all(rows):
                numbers = [number for number, row in zip(numbers, rows, strict=True) if row]
                rows = [row for row in rows if row]
            if first == 1:
                refuse_other_records(name, rows, self._mapping)
            yield self._of_lines(name, numbers, rows)
            if fault:
                self.rows += 1
                self._refuse(BadRow(name, first + len(block), "unreadable", fault))

    def _of_lines(self, name: Path, numbers: Sequence[int], rows: list[bytes]) -> Events:
        if self._mapping is not None:
            make = self._mapping.events_of_record
            return self._made(name, numbers, rows, make, _itself)
        try:
            events = [decode_event(row, self._now_ms) for row in rows]
        except ContractError:
            return self._made(name, numbers, rows, _only, _itself)
        self.rows += len(rows)
        return _in_columns(events, rows)

    def _csv(self, stream: BinaryIO, name: Path) -> Iterator[Events]:
        is_known = False
        for part in csv_parts(stream):
            if not is_known and (columns := _columns_of(part)):
                refuse_other_columns(name, columns, None)
                is_known = True
            if isinstance(part, CsvTable):
                is_sound = sound_rows(part.batch, part.data, part.is_whole, self._now_ms)
                yield from self._sound(part.batch, part.data, is_sound)
                rows = list(map(part.row, pc.indices_nonzero(pc.invert(is_sound)).to_pylist()))
            else:
                rows = part
            yield self._made(name, [row.line for row in rows], rows, _json_of_cells, _raw)

    def _foreign_csv(self, stream: BinaryIO, name: Path, mapping: Mapping) -> Iterator[Events]:
        def make(row: CsvRow) -> list[bytes]:
            if row.fault:
                raise _UnreadableError(row.fault)
            return mapping.events(dict(row.cells))

        form = mapping.form
        rows = csv_rows(stream, form.separator, form.columns, quoted=form.quoted)
        is_first = True
        for held in _in_blocks(rows):
            if is_first:
                refuse_other_columns(name, rows.header or (), mapping)
                refuse_other_layout(name, ((row.raw, row.fault) for row in held), form.columns)
                is_first = False
            yield self._made(name, [row.line for row in held], held, make, _raw)

    def _parquet(self, path: Path, name: Path) -> Iterator[Events]:
        row = 0
        refuse_other_columns(name, column_names(path), self._mapping)
        for batch in parquet_batches(path, None if self._mapping else CONTRACT_FIELDS):
            numbers = range(row + 1, row + 1 + len(batch))
            row += len(batch)
            yield from self._of_table(name, numbers, batch)

    def _of_table(self, name: Path, numbers: Sequence[int], batch: Any) -> Iterator[Events]:
        mapping = self._mapping
        make = _json_of_one if mapping is None else _events_by(mapping)
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:  # text that is none
            yield self._made(name, numbers, rows_one_by_one(batch), make, _readable)
            return
        if mapping is None:
            fields = batch = with_numbered_times(batch)
        else:
            fields = with_numbered_times(renamed_columns(batch, mapping.plain or {}))
        if not {"ts", "event_id"} <= {*fields.schema.names}:
            yield self._made(name, numbers, batch.to_pylist(), make, _readable)
            return
        data, is_whole = json_columns(fields)
        is_sound = sound_rows(fields, data, is_whole, self._now_ms)
        yield from self._sound(fields, data, is_sound)
        others = pc.indices_nonzero(pc.invert(is_sound))
        if len(others):
            at = [numbers[row] for row in others.to_pylist()]
            rest = batch.take(others)
            if mapping is None:
                rows = _rest(rest, data.take(others), is_whole.take(others))
            else:
                rows = rest.to_pylist()
            yield self._made(name, at, rows, make, _readable)

    def _sound(self, batch: Any, data: Any, is_sound: Any) -> Iterator[Events]:
        """The rows of a table that need no further look."""
        if is_sound.true_count:
            columns = [batch.column("ts"), batch.column("event_id"), data]
            sound = pa.RecordBatch.from_arrays(columns, COLUMNS.names).filter(is_sound)
            self.rows += len(sound)
            yield pa.RecordBatch.from_arrays(
                [column.cast(field.type) for column, field in zip(sound, COLUMNS, strict=True)],
                schema=COLUMNS,
            )

    def _made(
        self,
        name: Path,
        numbers: Sequence[int],
        rows: Sequence[T],
        make: Callable[[T], list[bytes]],
        raw: Callable[[T], bytes],
    ) -> Events:
        """The events that ``make`` makes of each row; a row of which one is bad is a bad row."""
        found: list[Event] = []
        data: list[bytes] = []
        for number, row in zip(numbers, rows, strict=True):
            self.rows += 1
            try:
                made = make(row)
                events = [decode_event(each, self._now_ms) for each in made]
            except ContractError as error:
                self._refuse(bad_row(name, number, error.reason, str(error), raw(row)))
            except (_UnreadableError, *NO_JSON) as error:
                self._refuse(bad_row(name, number, "unreadable", str(error), raw(row)))
            else:
                self.unmapped += not made
                found += events
                data += made
        return _in_columns(found, data)

    def _refuse(self, row: BadRow) -> None:
        self.bad[row.reason] += 1
        self._report(row)


class _UnreadableError(ValueError):
    """A row that is none."""


def _in_blocks(rows: Iterator[CsvRow]) -> Iterator[list[CsvRow]]:
    """Some rows at a time; those before a damage, too."""
    held: list[CsvRow] = []
    try:
        for row in rows:
            held.append(row)
            if len(held) == ROWS:
                yield held
                held = []
    except DamageError:
        yield held
        raise
    if held:
        yield held


def _columns_of(part: CsvTable | list[CsvRow]) -> Sequence[str]:
    """Empty where no row of the part can be read."""
    if isinstance(part, CsvTable):
        return part.header
    return next((list(row.cells) for row in part if not row.fault), [])


def _in_columns(events: Sequence[Event], data: Sequence[bytes]) -> Events:
    times = pa.array([event.ts for event in events], pa.int64())
    ids = pa.array([event.event_id.encode() for event in events], pa.binary())
    return pa.RecordBatch.from_arrays([times, ids, pa.array(data, pa.binary())], schema=COLUMNS)


def _events_by(mapping: Mapping) -> Callable[[Any], list[bytes]]:
    def make(row: Any) -> list[bytes]:
        if isinstance(row, UnicodeDecodeError):
            raise _UnreadableError(str(row))
        return mapping.events(row)

    return make


def _rest(batch: Any, data: Any, is_whole: Any) -> list[Any]:
    """The JSON of each row where there is one, else its fields."""
    fields = iter(batch.filter(pc.invert(is_whole)).to_pylist())
    return [
        text.encode() if whole else next(fields)
        for text, whole in zip(data.to_pylist(), is_whole.to_pylist(), strict=True)
    ]


def _json_of_one(row: Any) -> list[bytes]:
    if isinstance(row, bytes):
        return [row]
    if isinstance(row, UnicodeDecodeError):
        raise _UnreadableError(str(row))
    return [json_of(row)]


def _json_of_cells(row: CsvRow) -> list[bytes]:
    if row.fault:
        raise _UnreadableError(row.fault)
    known = {
        name: cell for name, cell in row.cells.items() if name.partition(".")[0] in CONTRACT_FIELDS
    }
    return [json_of(typed_fields(known))]


def _readable(row: Any) -> bytes:
    """A row of a table for a person to read; what JSON cannot say as Python would."""
    if isinstance(row, bytes):
        return row
    try:
        return b"" if isinstance(row, UnicodeDecodeError) else json_of(row)
    except NO_JSON:
        return repr(row).encode("utf-8", "backslashreplace")


def _itself(row: bytes) -> bytes:
    return row


def _only(row: bytes) -> list[bytes]:
    return [row]


def _raw(row: CsvRow) -> bytes:
    return row.raw
