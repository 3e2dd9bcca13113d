"""A made-up log of the past: sessions of users, in a topic or in a Parquet file."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer

from benchmarks.made_up import long_tailed
from model.events import Click, encode_event
from stream.settings import Settings

SESSION = 6
"""Clicks, of which each makes pairs with those before it: five additions to the counts a click."""
LONGEST_PAUSE_MS = 240_000
DAYS = 40
DAY_MS = 86_400_000
BEGIN_MS = 1_760_000_000_000
FLUSH_AT = 20_000
ROWS = 1 << 17
"""Of a row group: of a long log not more is in memory."""
COLUMNS = pa.schema(
    [
        ("type", pa.string()),
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("ts", pa.int64()),
        ("item_id", pa.string()),
    ]
)


def session_log(events: int, *, users: int, items: int, seed: int) -> Iterator[Click]:
    """Clicks in the order of time, in sessions of a few minutes."""
    chance = np.random.default_rng(seed)
    sessions = -(-events // SESSION)
    starts = BEGIN_MS + chance.integers(0, DAYS * DAY_MS, sessions)
    pauses = chance.integers(5_000, LONGEST_PAUSE_MS, (sessions, SESSION))
    times = (starts[:, None] + pauses.cumsum(axis=1)).ravel()
    owners = np.repeat(chance.integers(0, users, sessions), SESSION)
    clicked = long_tailed(chance, items, len(times))
    for number, at in enumerate(np.argsort(times, kind="stable")[:events].tolist()):
        yield Click(
            event_id=f"event-{number}",
            user_id=f"user-{owners[at]}",
            ts=int(times[at]),
            item_id=f"item-{clicked[at]}",
        )


def fill_topic(settings: Settings, log: Iterator[Click]) -> None:
    """Write the log to the events topic."""
    producer = Producer({"bootstrap.servers": settings.brokers, "linger.ms": 20})
    for number, event in enumerate(log):
        producer.produce(settings.events_topic, encode_event(event), key=event.user_id.encode())
        if number % FLUSH_AT == 0:
            producer.flush()
    producer.flush()


def write_parquet(path: Path, log: Iterator[Click]) -> None:
    """Write the log to a file."""
    with pq.ParquetWriter(path, COLUMNS, compression="zstd") as writer:
        while rows := [
            ("click", each.event_id, each.user_id, each.time, each.item_id)
            for each in islice(log, ROWS)
        ]:
            arrays = map(pa.array, zip(*rows, strict=True))
            writer.write_batch(pa.RecordBatch.from_arrays([*arrays], schema=COLUMNS))
