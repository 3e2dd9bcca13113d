"""The Faust agent: take a micro-batch, run the path, deliver, and only then acknowledge."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

import faust
import numpy as np
from aiokafka import TopicPartition
from faust.types import EventT

from model.events import INTERACTION_KINDS, Click
from model.features import NO_SEARCHES, Interactions
from model.who import who_rows
from serving import metrics
from serving.parts import Parts
from serving.ranker import RankerError
from serving.recommend import Outcome, Prepared, decide, prepare, recommend, recommend_user
from serving.record import Record
from stream.batch_topic import BatchMessage
from stream.batches import RecordBatch, ack, micro_batches
from stream.publisher import Publisher
from stream.readiness import Backoff, Part, Readiness, part_at_fault, wait_out
from stream.trace import NO_TRACE, Trace
from stream.worker import Worker

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAITER = "events"
BATCH_TIMEOUT_S = 120.0
"""Of one run through the path. Each trip to Redis and each run of the model ends much earlier; this
is for what nobody has thought of."""
SMALL_SHARE = 2
"""A micro-batch below this part of the largest is small."""
ATTEMPTS = 3
"""Failures of a lone event, each followed by a sound path, until the event is to blame."""


async def run_agent(stream: faust.StreamT[RecordBatch], worker: Worker) -> None:
    """Serve the events of this worker's partitions, for ever.

    Three micro-batches are in work at a time: of one the events are learnt and candidates gathered;
    the two before it are ranked and delivered. Both may wait for the network, which makes one run
    at a time. Each of these is done in the order of the partitions.

    A small micro-batch is ranked before the next is learnt: its cost hardly depends on its size,
    and what arrives meanwhile is one micro-batch instead of several that hold each other up.
    """
    switch = await worker.ready()
    delivering: asyncio.Task[None] | None = None
    ranking: asyncio.Task[None] | None = None
    small = worker.settings.max_batch // SMALL_SHARE
    # An error of a task ends the agent, as one of its own would.
    async with asyncio.TaskGroup() as tasks:
        async for batches in micro_batches(stream, worker.settings.max_batch):
            records = [
                record for batch in batches for record in cast(RecordBatch, batch.value).records
            ]
            number, places = _assignment_of(batches)
            tracing = worker.tracing
            trace = NO_TRACE if tracing is None else tracing.micro_batch(records)
            async with switch.learning(number, places) as parts:
                prepared = await _ahead(prepare(parts, records, trace.steps()), trace)
            if delivering is not None:
                await delivering
            delivering, ranked = ranking, asyncio.Event()
            ranking = tasks.create_task(
                _finish(parts, worker, records, prepared, ranked, delivering, batches, trace)
            )
            if prepared is None:
                # Nothing that comes later may be learnt before.
                await ranking
            elif len(records) < small:
                await ranked.wait()


def _assignment_of(
    batches: Sequence[EventT[RecordBatch]],
) -> tuple[int, list[TopicPartition]]:
    """The number of the assignment in which these were delivered, and their partitions."""
    number = cast(BatchMessage, batches[-1].message).generation_id
    places = [cast(RecordBatch, batch.value) for batch in batches]
    return number or 0, [TopicPartition(each.topic, each.partition) for each in places]


async def _ahead(step: Coroutine[Any, Any, T], trace: Trace) -> T | None:
    """What a step gives; None where it fails: it is made again when its turn has come."""
    try:
        async with asyncio.timeout(BATCH_TIMEOUT_S):
            return await step
    except Exception as error:
        logger.info("a micro-batch will be run again (%s: %s)", type(error).__name__, error)
        trace.fail(error)
        return None


async def _finish(
    parts: Parts,
    worker: Worker,
    records: Sequence[Record],
    prepared: Prepared | None,
    ranked: asyncio.Event,
    before: asyncio.Task[None] | None,
    batches: Sequence[EventT[RecordBatch]],
    trace: Trace,
) -> None:
    """Rank, and deliver and acknowledge when all that came before is acknowledged."""
    outcome = None if prepared is None else await _ahead(decide(parts, prepared), trace)
    ranked.set()
    if before is not None:
        await before
    await serve(parts, worker.publisher, worker.readiness, records, outcome, trace)
    for batch in batches:
        ack(batch)
    trace.end()


async def serve(
    parts: Parts,
    publisher: Publisher,
    readiness: Readiness,
    records: Sequence[Record],
    outcome: Outcome | None = None,
    trace: Trace = NO_TRACE,
) -> None:
    """Bring a micro-batch to its end, however long a part is away meanwhile.

    Where its ``outcome`` is known it only has to be delivered.

    Returns once lists and dead letters are acknowledged by the broker and the last lists are in
    Redis. An event that fails on a sound path is found by halving and dead-lettered alone. What is
    halved has published nothing, and the halves follow one another: a user's lists keep their
    order.
    """
    if outcome is not None:
        return await _deliver(parts, publisher, readiness, records, outcome, trace)
    failures = 0
    while True:
        try:
            outcome = await wait_out(
                readiness,
                WAITER,
                lambda: _recommend(parts, records, trace),
                Part.REDIS,
                raises=_suspicious,
            )
        except Exception as error:
            readiness.end_attempt()
            trace.fail(error)
            if not await _is_sound(parts, readiness, error):
                continue
            failures += 1
            if len(records) > 1:
                return await _serve_halves(parts, publisher, readiness, records, trace)
            if failures == ATTEMPTS:
                return await _bury(publisher, readiness, records[0], error)
        else:
            return await _deliver(parts, publisher, readiness, records, outcome, trace)


async def _recommend(parts: Parts, records: Sequence[Record], trace: Trace) -> Outcome:
    async with asyncio.timeout(BATCH_TIMEOUT_S):
        return await recommend(parts, records, trace.steps())


def _suspicious(error: Exception) -> bool:
    """Whether an event may have caused it; ONNX Runtime does not tell bad input from a bad day."""
    if isinstance(error, RankerError):
        return True
    return part_at_fault(error) is None and not isinstance(error, OSError)


async def _is_sound(parts: Parts, readiness: Readiness, error: Exception) -> bool:
    """Whether the path serves a user that does not exist; False once it does so again.

    Without this, a broken worker would take every event for a poisonous one and bury the stream.
    """
    try:
        await _probe(parts)
    except Exception as fault:
        logger.error("no event can be processed", exc_info=fault)
        readiness.wait(WAITER, part_at_fault(fault) or Part.PATH, fault)
        await Backoff().wait()
        await wait_out(readiness, WAITER, lambda: _probe(parts), Part.PATH)
        return False
    logger.warning("events cannot be processed (%s: %s)", type(error).__name__, error)
    return True


async def _probe(parts: Parts) -> None:
    async with asyncio.timeout(BATCH_TIMEOUT_S):
        await recommend_user(parts, "")
        hashes = parts.bundle.vocabulary.hashes[: parts.bundle.manifest.history_length]
        history = Interactions(
            hashes,
            np.full(len(hashes), INTERACTION_KINDS[Click], np.uint8),
            np.arange(len(hashes), dtype=np.int64),
        )
        nothing = np.zeros((1, 1), dtype=np.int64)
        features = parts.ranker.features([history], [NO_SEARCHES], who_rows([b""]))
        item_bias = parts.catalog.item_bias
        await parts.ranker.beside(lambda: parts.ranker.score(features, nothing, item_bias), 1)


async def _serve_halves(
    parts: Parts,
    publisher: Publisher,
    readiness: Readiness,
    records: Sequence[Record],
    trace: Trace,
) -> None:
    middle = len(records) // 2
    for half in (records[:middle], records[middle:]):
        await serve(parts, publisher, readiness, half, trace=trace)
        readiness.end_attempt()


async def _deliver(
    parts: Parts,
    publisher: Publisher,
    readiness: Readiness,
    records: Sequence[Record],
    outcome: Outcome,
    trace: Trace,
) -> None:
    start = time.perf_counter()
    # First: what comes of a list may be told as soon as somebody has read it.
    await wait_out(
        readiness,
        WAITER,
        lambda: parts.store.keep(outcome.lists, outcome.encoded_lists),
        Part.REDIS,
    )
    kept = time.perf_counter()
    trace.tell("keep", kept - start)
    await wait_out(readiness, WAITER, lambda: publisher.send(outcome, trace), Part.KAFKA)
    published = time.perf_counter()
    trace.tell("publish", published - kept)
    metrics.STEP_SECONDS.labels("keep").observe(kept - start)
    metrics.STEP_SECONDS.labels("publish").observe(published - kept)
    _observe_latency(records, outcome, time.time())


def _observe_latency(records: Sequence[Record], outcome: Outcome, now_s: float) -> None:
    times: dict[tuple[str, int, int], int] = {
        (each.topic, each.partition, each.offset): each.timestamp  # type: ignore[attr-defined]
        for each in records  # aiokafka's: those of a past have none
    }
    seen = [each.as_of for each in outcome.lists]
    written_ms = [times[each.topic, each.partition, each.offset] for each in seen]
    if written_ms:
        metrics.LATENCY.observe(now_s - np.array(written_ms) / 1000)


async def _bury(
    publisher: Publisher, readiness: Readiness, record: Record, error: Exception
) -> None:
    logger.error(
        "%s, partition %d, offset %d cannot be processed and becomes a dead letter",
        record.topic, record.partition, record.offset, exc_info=error,
    )  # fmt: skip
    letter = publisher.letter_of(record, error)
    await wait_out(readiness, WAITER, lambda: publisher.send(letter), Part.KAFKA)
