"""Events of files in columns: time, id and JSON bytes, checked, in file order."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import pyarrow as pa
from pyarrow import compute as pc

from model.events import ContractError, Event, decode_event
from stream.csv_rows import CsvRow, csv_rows, typed_fields
from stream.event_json import json_columns
from stream.lines import line_blocks
from stream.parquet_rows import DamagedParquetError, parquet_batches
from stream.replay.sorted_runs import COLUMNS, Events
from stream.rows import BOM, NO_JSON, BadRow, RowsError, format_of, json_of, opened
from stream.sound_rows import CONTRACT_FIELDS, sound_rows

ROWS = 4_096
"""Decoded at a time."""

_BLANK = b" \t\r"
"""What JSON skips, line ends apart."""

T = TypeVar("T")


class Form(Protocol):
    """How the files of a mapping are laid out, JSONL and Parquet apart."""

    @property
    def separator(self) -> str: ...
    @property
    def columns(self) -> Sequence[str] | None: ...
    @property
    def quoted(self) -> bool: ...
    @property
    def encoding(self) -> str: ...


class RowMapping(Protocol):
    """What makes events of the contract of foreign rows (``model.mapping.Mapping``)."""

    @property
    def form(self) -> Form: ...
    def events(self, fields: dict[str, Any]) -> list[bytes]: ...
    def events_of_record(self, value: bytes) -> list[bytes]: ...
    @property
    def digest(self) -> str:
        """Tells mappings apart that make different events."""


class EventReader:
    """Reads files; ``report`` gets every row that breaks the contract.

    Each row is checked by ``decode_event``, except those of Parquet files whose columns show that
    it would take them (`sound_rows`).

    Args:
        report: called in file order.
        now_ms: the present, epoch milliseconds; events much later than that are refused.
        mapping: what makes events of a row; None where rows are events.
        strict: the first bad row ends it.
    """

    def __init__(
        self,
        report: Callable[[BadRow], None],
        now_ms: int,
        mapping: RowMapping | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._report = report
        self._now_ms = now_ms
        self._mapping = mapping
        self._strict = strict
        self.rows = 0
        """Read so far."""
        self.bad: Counter[str] = Counter()
        """Rows left out, by reason."""
        self.unmapped = 0
        """Rows of which the mapping makes no event, on purpose."""

    def read(self, path: Path, name: Path | None = None) -> Iterator[Events]:
        """The events of a file.

        Args:
            path: the file.
            name: what it is called in reports, if not so.

        Raises:
            RowsError: it cannot be read, or holds a bad row and that is to end it.
        """
        name = name or path
        form, packing = format_of(path, unknown="" if self._mapping is None else "csv")
        if form == "parquet":
            yield from self._parquet(path, name)
            return
        with opened(path, packing) as stream:
            if form == "jsonl":
                yield from self._jsonl(stream, name)
            else:
                yield from self._csv(name, self._rows_of(stream))

    def _jsonl(self, stream: BinaryIO, name: Path) -> Iterator[Events]:
        for first, lines, fault in line_blocks(stream):
            rows = [line.strip(_BLANK) for line in lines]
            if first == 1 and rows:
                rows[0] = rows[0].removeprefix(BOM)
            numbers: Sequence[int] = range(first, first + len(rows))
            if not all(rows):
                numbers = [number for number, row in zip(numbers, rows, strict=True) if row]
                rows = [row for row in rows if row]
            yield self._of_lines(name, numbers, rows)
            if fault:
                self.rows += 1
                self._refuse(BadRow(name, first + len(lines), "unreadable", fault))

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

    def _rows_of(self, stream: BinaryIO) -> Iterator[CsvRow]:
        if self._mapping is None:
            return csv_rows(stream)
        form = self._mapping.form
        return csv_rows(
            stream, form.separator, form.columns, quoted=form.quoted, encoding=form.encoding
        )

    def _csv(self, name: Path, rows: Iterator[CsvRow]) -> Iterator[Events]:
        mapping = self._mapping

        def make(row: CsvRow) -> list[bytes]:
            if row.fault:
                raise _UnreadableError(row.fault)
            if mapping is not None:
                return mapping.events(dict(row.cells))
            return [json_of(typed_fields(row.cells))]

        held: list[CsvRow] = []
        for row in rows:
            held.append(row)
            if len(held) == ROWS:
                yield self._made(name, [each.line for each in held], held, make, _raw)
                held.clear()
        yield self._made(name, [each.line for each in held], held, make, _raw)

    def _parquet(self, path: Path, name: Path) -> Iterator[Events]:
        row = 0
        try:
            for batch in parquet_batches(path, None if self._mapping else CONTRACT_FIELDS):
                numbers = range(row + 1, row + 1 + len(batch))
                row += len(batch)
                if self._mapping is not None:
                    make = self._mapping.events
                    yield self._made(name, numbers, batch.to_pylist(), make, _readable)
                else:
                    yield from self._of_table(name, numbers, batch)
        except DamagedParquetError as error:
            self.rows += 1
            self._refuse(BadRow(name, row + 1, "unreadable", str(error)))

    def _of_table(self, name: Path, numbers: Sequence[int], batch: Any) -> Iterator[Events]:
        """Events of rows whose columns are the fields of the contract."""
        batch = _with_numbered_times(batch)
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:  # text that is none
            yield self._made(name, numbers, _one_by_one(batch), _json_of_one, _readable)
            return
        if not {"ts", "event_id"} <= {*batch.schema.names}:
            yield self._made(name, numbers, batch.to_pylist(), _json_of_one, _readable)
            return
        data, is_whole = json_columns(batch)
        is_sound = sound_rows(batch, data, is_whole, self._now_ms)
        sound = pa.RecordBatch.from_arrays(
            [*map(batch.column, ("ts", "event_id")), data], ["ts", "id", "data"]
        ).filter(is_sound)
        if len(sound):
            self.rows += len(sound)
            yield pa.RecordBatch.from_arrays(
                [column.cast(field.type) for column, field in zip(sound, COLUMNS, strict=True)],
                schema=COLUMNS,
            )
        if len(sound) < len(batch):
            others = pc.indices_nonzero(pc.invert(is_sound))
            at = [numbers[row] for row in others.to_pylist()]
            rows = _rest(batch.take(others), data.take(others), is_whole.take(others))
            yield self._made(name, at, rows, _json_of_one, _readable)

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
        self.rows += len(rows)
        for number, row in zip(numbers, rows, strict=True):
            try:
                made = make(row)
                events = [decode_event(each, self._now_ms) for each in made]
            except ContractError as error:
                self._refuse(BadRow(name, number, error.reason, str(error), raw(row)))
            except (_UnreadableError, *NO_JSON) as error:
                self._refuse(BadRow(name, number, "unreadable", str(error), raw(row)))
            else:
                self.unmapped += not made
                found += events
                data += made
        return _in_columns(found, data)

    def _refuse(self, row: BadRow) -> None:
        self.bad[row.reason] += 1
        self._report(row)
        if self._strict:
            raise bad_row_error(row)


def bad_row_error(row: BadRow) -> RowsError:
    """What ends it where no bad row may be."""
    return RowsError(f"{row}; mend the row, or let it be left out without --strict")


class _UnreadableError(ValueError):
    """A row that is none."""


def _in_columns(events: Sequence[Event], data: Sequence[bytes]) -> Events:
    times = pa.array([event.ts for event in events], pa.int64())
    ids = pa.array([event.event_id.encode() for event in events], pa.binary())
    return pa.RecordBatch.from_arrays([times, ids, pa.array(data, pa.binary())], schema=COLUMNS)


def _with_numbered_times(batch: Any) -> Any:
    """A time with a zone as epoch milliseconds; one without is the contract's to refuse."""
    at = batch.schema.get_field_index("ts")
    if at >= 0 and pa.types.is_timestamp(batch.column(at).type) and batch.column(at).type.tz:
        batch = batch.set_column(at, "ts", batch.column(at).cast(pa.int64()))
    return batch


def _one_by_one(batch: Any) -> list[Any]:
    """Rows as Python has them, or why it cannot have them."""
    rows: list[Any] = []
    for at in range(len(batch)):
        try:
            rows += batch.slice(at, 1).to_pylist()
        except UnicodeDecodeError as error:
            rows.append(error)
    return rows


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
