"""Files of the past, and what a consumer sees of them."""

import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pyarrow as pa
import zstandard
from pyarrow import parquet

from stream.replay.file_past import FilePast
from stream.replay.past import PastBatch
from stream.rows import BadRow

START = 1_700_000_000_000
NOW = 1_800_000_000_000
ROWS: list[dict[str, Any]] = [
    {"type": "click", "event_id": f"e{n % 911}", "user_id": f"用户{n % 7}", "ts": START + n // 5,
     "item_id": f"i{n % 13}"}
    for n in range(1_000)
]  # fmt: skip
SMALL = 4_000
"""Bytes sorted at a time: a thousand rows make dozens of runs."""


def jsonl(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def comma(rows: Sequence[dict[str, Any]]) -> bytes:
    lines = [",".join(map(str, row.values())) for row in rows]
    return "\n".join([",".join(ROWS[0]), *lines, ""]).encode()


def tables(rows: Sequence[dict[str, Any]]) -> bytes:
    packed = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows)), packed)
    return packed.getvalue()


WRITERS: dict[str, Callable[[Sequence[dict[str, Any]]], bytes]] = {
    ".jsonl": jsonl,
    ".jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    ".jsonl.zst": lambda rows: zstandard.compress(jsonl(rows)),
    ".csv": comma,
    ".csv.gz": lambda rows: gzip.compress(comma(rows)),
    ".csv.zst": lambda rows: zstandard.compress(comma(rows)),
    ".parquet": tables,
}


def shuffled(rows: Sequence[dict[str, Any]], seed: int = 5) -> list[dict[str, Any]]:
    return random.Random(seed).sample(list(rows), len(rows))


def nothing_is_bad(row: BadRow) -> None:
    raise AssertionError(str(row))


def past_of(
    tmp_path: Path, paths: Sequence[Path], report: Callable[[BadRow], None] = nothing_is_bad,
    **options: Any,
) -> FilePast:  # fmt: skip
    """A past in small runs and batches."""
    given: dict[str, Any] = {"folder": tmp_path / "work", "run_bytes": SMALL, "batch": 64} | options
    return FilePast(paths, report, **given)


Told = list[tuple[int, int, bytes, bytes]]


def told(batches: Sequence[PastBatch]) -> Told:
    """What a consumer sees of batches, without the name of the set."""
    return [
        (
            each.record.partition,
            each.record.offset,
            each.record.key or b"",
            each.record.value or b"",
        )
        for batch in batches
        for each in batch.decoded
    ]


def read(past: FilePast) -> Told:
    return told(list(past.batches({})))


def expected(rows: Sequence[dict[str, Any]]) -> Told:
    """By the definition: sorted by time, id and content."""
    ordered = sorted(rows, key=lambda row: (row["ts"], row["event_id"], json.dumps(row)))
    keys = [row["user_id"].encode() for row in ordered]
    return [
        (crc32(key) % 64, offset, key, msgspec.json.encode(row))
        for offset, (key, row) in enumerate(zip(keys, ordered, strict=True))
    ]
