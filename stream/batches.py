"""Faust with batches: Faust keeps the group and the agents, records arrive by the thousand.

Stock Faust builds a message, an event and some futures for each record and tops out at a few
thousand a second. Here one message carries up to `max_batch` records of one partition, undecoded,
and an offset is committed only when all that precedes it is done (`stream.acknowledge`)::

    app = faust.App("nextclick", broker="batch://127.0.0.1:9092", **faust_settings())

    @app.agent(batch_topic(app, "events"))
    async def work(stream):
        async for events in micro_batches(stream, max_records=500):
            try:
                await handle([event.value for event in events])
            except Unavailable:
                for event in events:
                    nack(event)  # delivered again; nothing of it was committed
            else:
                for event in events:
                    ack(event)

Three promises, and how they are kept:

- *Nothing is lost*: what leaves aiokafka's buffer is delivered or its partition is moved back. A
  fetch carries the assignment it was made under and the number of moves its partition had seen;
  one that a move or a rebalance has overtaken is dropped, because its records come again.
- *Order per partition*: one handler at a time, and nothing of a partition is handed out after a
  batch of it was given back until that batch has come again. A handler that starts concurrent
  tasks per batch gives this up, unless it keeps their order itself, as `stream.agents` does.
- *A clean end*: on SIGTERM and on rebalance the batches in work have `drain_seconds` to end, then
  the done prefix is committed; what did not end is delivered again, here or elsewhere.

It leans on private members of faust-streaming, aiokafka and mode, which are therefore pinned;
`TOUCH_POINTS` lists them and a test holds the list.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, Subscription, SubscriptionState
from aiokafka.record import default_records
from faust.channels import Channel
from faust.exceptions import ImproperlyConfigured
from faust.streams import Stream
from faust.topics import Topic
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import EventT, Message, StreamT
from mode.utils.queues import ThrowableQueue

from stream.batch_consumer import (
    MAX_POLL_RECORDS,
    MAX_WAITING,
    RECORD_BYTES,
    SCHEME,
    BatchConsumer,
)
from stream.batch_topic import BatchMessage, BatchTopic, RecordBatch, batch_topic

__all__ = [
    "SCHEME",
    "BatchTopic",
    "RecordBatch",
    "ack",
    "batch_topic",
    "faust_settings",
    "micro_batches",
    "nack",
]

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

#: Everything undocumented that this module overrides, calls or reads.
TOUCH_POINTS: tuple[tuple[type | ModuleType, str], ...] = (
    (driver.Consumer, "_new_consumer_thread"),
    (driver.Consumer, "_drain_messages"),
    (driver.Consumer, "_wait_next_records"),
    (driver.Consumer, "_commit_offsets"),
    (driver.Consumer, "_committed_offset"),
    (driver.Consumer, "_filter_tps_with_pending_acks"),
    (driver.Consumer, "_new_offset"),
    (driver.Consumer, "_seek"),
    (driver.Consumer, "_thread"),
    (driver.Consumer, "callback"),
    (driver.Consumer, "flow_active"),
    (driver.Consumer, "on_buffer_full"),
    (driver.Consumer, "on_buffer_drop"),
    (driver.Consumer, "track_message"),
    (driver.Consumer, "wait_empty"),
    (driver.AIOKafkaConsumerThread, "_commit"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    (driver.AIOKafkaConsumerThread, "_fetch_records"),
    (driver.AIOKafkaConsumerThread, "_consumer"),
    (driver.AIOKafkaConsumerThread, "call_thread"),
    (driver.AIOKafkaConsumerThread, "getmany"),
    (driver.AIOKafkaConsumerThread, "on_thread_stop"),
    (driver.AIOKafkaConsumerThread, "thread_loop"),
    (driver.Transport, "Consumer"),
    (Conductor, "_topics"),
    (Channel, "decode"),
    (Topic, "_clone_args"),
    (Topic, "_compile_decode"),
    (Stream, "noack"),
    (Stream, "current_event"),
    (Message, "on_final_ack"),
    (ThrowableQueue, "_errors"),
    (AIOKafkaProducer, "_message_accumulator"),
    (AIOKafkaProducer, "_sender"),
    (AIOKafkaConnection, "_send_sasl_token"),
    (AIOKafkaConnection, "send"),
    (AIOKafkaConsumer, "_client"),
    (AIOKafkaConsumer, "_coordinator"),
    (fetcher, "ConsumerRecord"),
    (fetcher, "MemoryRecords"),
    (default_records, "_DefaultRecordBatchPy"),
    (AIOKafkaConsumer, "_fetch_max_wait_ms"),
    (AIOKafkaConsumer, "_fetcher"),
    (fetcher.Fetcher, "_get_actions_per_node"),
    (fetcher.Fetcher, "_notify"),
    (fetcher.Fetcher, "_wait_consume_future"),
    (AIOKafkaConsumer, "_max_poll_records"),
    (AIOKafkaConsumer, "_subscription"),
    (GroupCoordinator, "_commit_lock"),
    (GroupCoordinator, "_do_commit_offsets"),
    (GroupCoordinator, "_send_req"),
    (GroupCoordinator, "coordinator_dead"),
    (GroupCoordinator, "ensure_coordinator_known"),
    (SubscriptionState, "subscription"),
    (Subscription, "assignment"),
    (Assignment, "active"),
)


async def micro_batches(
    stream: StreamT[RecordBatch], max_records: int
) -> AsyncIterator[list[EventT[RecordBatch]]]:
    """What is ready right now, as a list of events with at most `max_records` records together.

    Waits for the first event and never once it has one. Only where the first event alone is larger
    (`max_batch` above `max_records`) the list is larger. Events of one partition are in offset
    order. The caller calls `ack` or `nack` for each event; those left without an answer by an agent
    that raised are given back when Faust starts the agent again.

    Raises ImproperlyConfigured unless this is the only stream of the agent and comes from a
    `batch_topic` of an app with a ``batch://`` broker.
    """
    consumer = stream.app.consumer
    if not isinstance(consumer, BatchConsumer):
        raise ImproperlyConfigured(
            f"micro_batches needs a broker URL that begins with {SCHEME}://, such as"
            f" {SCHEME}://127.0.0.1:9092; this app has {stream.app.conf.broker}."
        )
    if stream.concurrency_index is not None or stream.active_partitions is not None:
        raise ImproperlyConfigured(
            "An agent of a batch topic has concurrency=1 and isolated_partitions=False: anything"
            " else hands one partition to several handlers, or one micro-batch to none."
        )
    manual = cast(Stream[RecordBatch], stream).noack()
    channel = cast(BatchTopic, manual.channel)
    consumer.abandon(channel.topics)
    consumer.ask()
    held: EventT[RecordBatch] | None = None
    async with aclosing(cast(AsyncGenerator[RecordBatch], aiter(manual))) as arrivals:
        async for _ in arrivals:
            held = cast(EventT[RecordBatch], manual.current_event)
            while held is not None:
                events, held = _take_ready(consumer, held, channel.queue, max_records)
                if held is not None or channel.queue.qsize():
                    consumer.ask()  # the next ones come while these, and those that are here, are
                if events:
                    yield events
            if not channel.queue.qsize():
                # Not earlier: what comes until now is one micro-batch. To have it fetched beside
                # the end of the last one's work cuts it in two, which costs more than it saves.
                consumer.ask()


def _take_ready(
    consumer: BatchConsumer,
    first: EventT[RecordBatch],
    queue: ThrowableQueue[Any],
    max_records: int,
) -> tuple[list[EventT[RecordBatch]], EventT[RecordBatch] | None]:
    """The events to handle now, and the one that no longer fits; no await, so none can be lost."""
    events: list[EventT[RecordBatch]] = []
    records = 0
    event: EventT[RecordBatch] | None = first
    while event is not None and (not events or records + len(event.value) <= max_records):
        if consumer.take(cast(BatchMessage, event.message)):
            events.append(event)
            records += len(event.value)
        # An error in the queue is how Faust stops an agent: leave it to the stream.
        event = queue.get_nowait() if queue.qsize() and not queue._errors else None
    if event is not None:
        cast(BatchMessage, event.message).token.taken = True  # it left the queue: see abandon()
    return events, event


def ack(event: EventT[RecordBatch]) -> bool:
    """Mark `event` done, after its effects are durable; False where it came too late to count."""
    return event.ack()


def nack(event: EventT[RecordBatch]) -> bool:
    """Give `event` back: it, and all its partition delivered after it, is delivered again.

    Other partitions go on. False where it was settled before or is no longer ours. There is no
    delay: a caller that waits for something to come back waits before it calls.
    """
    return cast(BatchConsumer, event.app.consumer).nack(cast(BatchMessage, event.message))


def faust_settings() -> dict[str, Any]:
    """The arguments of ``faust.App(...)`` that batches rely on or that a worker should have."""
    return {
        # An offset that is gone is an error; groups new to a partition start at its beginning.
        "consumer_auto_offset_reset": "none",
        # SIGTERM and rebalance wait for batches in work (at most half a session) and commit.
        "stream_wait_empty": True,
        # A dead worker is replaced in some 10 s instead of 60: 6 to 8 s until it is missed, up to 2
        # until the others hear of it, and then what has piled up.
        "broker_session_timeout": 8.0,
        "broker_heartbeat_interval": 2.0,
        # A broker that has just come back may know no topics yet. A leader who assigns in that
        # moment leaves everybody without partitions, until it looks again.
        "consumer_metadata_max_age_ms": 5_000,
        # What a killed worker did since its last commit is done twice.
        "broker_commit_interval": 1.0,
        "broker_max_poll_records": MAX_POLL_RECORDS,
        # Batches; more than can wait at once (MAX_WAITING), so that this never blocks.
        "stream_buffer_maxsize": MAX_WAITING // RECORD_BYTES,
        # Topics are made by an administrator with the right partitions, not by a worker's guess;
        # the leader topic would be one more, and it is no batch topic.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # Partitions go round robin instead of by Faust's assignor, which exists for tables.
        "table_standby_replicas": 0,
        # State lives in Redis. Faust still makes this folder, by default in the working directory.
        "store": "memory://",
        "datadir": Path(tempfile.gettempdir()) / f"nextclick-faust-{os.getuid()}",
        # Two workers of a host would fight for the port; it would listen on 0.0.0.0 by default.
        # `faust worker` sets this to True again: --without-web, or a BootStrategy of one's own.
        "web_enabled": False,
        "web_bind": "127.0.0.1",
        "autodiscover": False,
    }
