"""A worker for crash tests: copies each record's offset to another topic, then acknowledges.

Run as ``faust -A tests.batch_worker worker`` with the environment that test_batches_crash.py sets.
Each record it writes names the process that wrote it.
"""

import asyncio
import os
from pathlib import Path
from typing import cast

import faust
from aiokafka import AIOKafkaProducer

from stream.batches import RecordBatch, ack, batch_topic, faust_settings, micro_batches

BOOTSTRAP = os.environ["TEST_BOOTSTRAP"]
BRAKE = Path(os.environ["TEST_BRAKE"])  # while this file exists, each micro-batch takes long
SOURCE, TARGET = os.environ["TEST_SOURCE"], os.environ["TEST_TARGET"]

app = faust.App(
    os.environ["TEST_GROUP"],
    broker=f"batch://{BOOTSTRAP}",
    **{**faust_settings(), "broker_session_timeout": 6.0, "broker_heartbeat_interval": 1.0},
)


@app.agent(batch_topic(app, SOURCE, max_batch=50))
async def copy(stream: faust.StreamT[RecordBatch]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
    await producer.start()
    writer = [("worker", b"%d" % os.getpid())]
    try:
        async for events in micro_batches(stream, 200):
            batches = [cast(RecordBatch, event.value) for event in events]
            sent = [
                await producer.send(
                    TARGET, b"%d" % record.offset, partition=record.partition, headers=writer
                )
                for batch in batches
                for record in batch.records
            ]
            if BRAKE.exists():
                await asyncio.sleep(0.2)
            await asyncio.gather(*sent)
            for event in events:
                ack(event)
    finally:
        await producer.stop()
