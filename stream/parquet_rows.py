"""Rows of Parquet files, by the names of their columns."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

READ_BYTES = 1024 * 1024
"""Of a column at a time: row groups may be of any size."""
BATCH = 8_192
"""Rows read at a time: 10 MB of long ones."""


def parquet_batches(path: Path, columns: Collection[str] | None = None) -> Iterator[Any]:
    """Record batches of a file, in its order.

    Args:
        path: the file.
        columns: names of those to read, as far as the file has them; None for all.

    Raises:
        DamagedParquetError: the file cannot be read to its end.
    """
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if len({*names}) < len(names):
                raise DamagedParquetError("two columns of the file have the same name")
            wanted = None if columns is None else [name for name in names if name in columns]
            yield from map(
                _in_milliseconds,
                file.iter_batches(batch_size=BATCH, columns=wanted, use_threads=False),
            )
    except (ArrowException, OSError) as error:
        raise DamagedParquetError(f"the file is damaged from here on ({error})") from None


class DamagedParquetError(ValueError):
    """A Parquet file ends before its end; the message is a fault as a row has one."""


def _in_milliseconds(batch: Any) -> Any:
    """Times with nanoseconds have no Python type; the contract's own unit is the millisecond."""
    import pyarrow

    for index, field in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(field.type):
            unit = pyarrow.timestamp("ms", field.type.tz)
            batch = batch.set_column(index, field.name, batch.column(index).cast(unit, safe=False))
    return batch
