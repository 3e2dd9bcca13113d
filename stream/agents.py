"""The Faust agent: take a micro-batch, run the path, deliver, and only then acknowledge."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import cast

import faust
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from serving import metrics
from serving.intake import Record
from serving.parts import Parts
from serving.ranker import RankerError
from serving.recommend import recommend
from serving.store import StoreError
from stream.batches import RecordBatch, ack, micro_batches
from stream.publisher import Publisher
from stream.worker import Worker

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10.0
PASSING = (RedisError, StoreError, KafkaError, RankerError, OSError, TimeoutError)
"""Faults of a part, not of an event: the batch waits until the part is back."""


async def run_agent(stream: faust.StreamT[RecordBatch], worker: Worker) -> None:
    """Serve the events of this worker's partitions, for ever."""
    parts = await worker.ready()
    async for batches in micro_batches(stream, worker.settings.max_batch):
        records = [record for batch in batches for record in cast(RecordBatch, batch.value).records]
        await serve(parts, worker.publisher, records)
        for batch in batches:
            ack(batch)


async def serve(parts: Parts, publisher: Publisher, records: Sequence[Record]) -> None:
    """Bring a micro-batch to its end, however often a part fails on the way.

    Returns once lists and dead letters are acknowledged by the broker and the last lists are in
    Redis. An event that no part's fault explains is found by halving and dead-lettered alone.
    """
    wait_s = FIRST_WAIT_S
    while True:
        try:
            outcome = await recommend(parts, records)
            await publisher.send(outcome)
            return await parts.store.keep(outcome.lists)
        except PASSING as error:
            metrics.RETRIES.labels(type(error).__name__).inc()
            logger.warning(
                "%d events wait %.1f s: %s: %s", len(records), wait_s, type(error).__name__, error
            )
            # Jitter, so that the workers do not all come back at the same moment.
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        except Exception as error:
            logger.exception("%d events cannot be processed", len(records))
            if len(records) > 1:
                middle = len(records) // 2
                await serve(parts, publisher, records[:middle])
                return await serve(parts, publisher, records[middle:])
            return await _bury(publisher, records[0], error)


async def _bury(publisher: Publisher, record: Record, error: Exception) -> None:
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await publisher.bury(record, error)
        except PASSING as failure:
            logger.warning("a dead letter waits %.1f s: %s", wait_s, failure)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
