"""Rows of Parquet files, by the names of their columns."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stream.lines import DamageError

READ_BYTES = 1024 * 1024
"""Of a column at a time: row groups may be of any size."""
BATCH = 8_192
"""Rows read at a time, fewer where they are long."""
BATCH_BYTES = 4 * 1024 * 1024


def parquet_batches(path: Path, columns: Collection[str] | None = None) -> Iterator[Any]:
    """Record batches of a file, in its order.

    Args:
        path: the file.
        columns: names of those to read, as far as the file has them; None for all.

    Raises:
        DamageError: the file cannot be read to its end; the batches before have been handed on.
    """
    from pyarrow import ArrowException, parquet

    rows = 0
    try:
        with parquet.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if len({*names}) < len(names):
                raise DamageError(1, "two columns of the file have the same name")
            wanted = None if columns is None else [name for name in names if name in columns]
            batches = file.iter_batches(_batch_rows(file), columns=wanted, use_threads=False)
            for batch in batches:
                rows += len(batch)
                yield _in_milliseconds(batch)
    except (ArrowException, OSError) as error:
        raise DamageError(rows + 1, error) from None


def column_names(path: Path) -> list[str]:
    """Of a file. Raises DamageError."""
    from pyarrow import ArrowException, parquet

    try:
        return list(parquet.read_schema(path).names)
    except (ArrowException, OSError) as error:
        raise DamageError(1, error) from None


def _batch_rows(file: Any) -> int:
    """How many rows are read at a time, by what the file says of their size."""
    groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
    row = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=1)
    return min(BATCH, max(1, BATCH_BYTES // max(row, 1)))


def _in_milliseconds(batch: Any) -> Any:
    """Times with nanoseconds have no Python type; the contract's own unit is the millisecond."""
    import pyarrow

    for index, field in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(field.type):
            unit = pyarrow.timestamp("ms", field.type.tz)
            batch = batch.set_column(index, field.name, batch.column(index).cast(unit, safe=False))
    return batch


def with_numbered_times(batch: Any) -> Any:
    """A time with a zone as epoch milliseconds; one without is the contract's to refuse."""
    import pyarrow as pa

    at = batch.schema.get_field_index("ts")
    if at >= 0 and pa.types.is_timestamp(batch.column(at).type) and batch.column(at).type.tz:
        batch = batch.set_column(at, "ts", batch.column(at).cast(pa.int64()))
    return batch


def rows_one_by_one(batch: Any) -> list[Any]:
    """Rows as Python has them, or why it cannot have them."""
    rows: list[Any] = []
    for at in range(len(batch)):
        try:
            rows += batch.slice(at, 1).to_pylist()
        except UnicodeDecodeError as error:
            rows.append(error)
    return rows


def renamed_columns(batch: Any, plain: Mapping[str, str]) -> Any:
    """The fields of the contract out of columns with other names; empty text is none.

    Args:
        batch: rows of a log.
        plain: field -> column. A field that stands inside an object is not taken out of it: it
            becomes the whole object, which no field is.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    found: dict[str, Any] = {}
    for name, column in plain.items():
        outer = column if column in batch.schema.names else column.partition(".")[0]
        if outer in batch.schema.names:
            values = batch.column(outer)
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                values = pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values)
            found[name] = values
    return pa.RecordBatch.from_arrays([*found.values()], [*found])
