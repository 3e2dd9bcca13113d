"""Erasing a user: the ``forget`` event is sent, and the workers' progress past it awaited."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

from aiokafka import AIOKafkaProducer, TopicPartition

from model.events import Forget, decode_event, encode_event
from stream.kafka import producer_arguments
from stream.kafka_login import require_broker
from stream.offsets import OffsetReader
from stream.settings import Settings

PAUSE_S = 0.2
STALL_S = 120.0
"""Longer than a worker takes to start, load its bundle and read a large catalogue."""


class SentForget(NamedTuple):
    """Where a ``forget`` event stands."""

    event_id: str
    ts: int
    """Epoch milliseconds: events of the user up to then are erased."""
    topic: str
    partition: int
    offset: int


def forget_event(user_id: str, at: str | None = None) -> Forget:
    """A new ``forget`` event.

    Args:
        user_id: who asked to be erased.
        at: up to when, RFC 3339 with offset or epoch milliseconds; None: now.

    Raises:
        ContractError: the user id or the time breaks the contract of events.
    """
    now_ms = time.time_ns() // 1_000_000
    ts: str | int = now_ms if at is None else int(at) if _is_integer(at) else at
    event = {"type": "forget", "event_id": f"forget-{uuid4().hex}", "user_id": user_id, "ts": ts}
    decoded = decode_event(json.dumps(event).encode(), now_ms)
    assert isinstance(decoded, Forget)
    return decoded


async def send_forget(settings: Settings, event: Forget) -> SentForget:
    """Write the event to the events topic, keyed by its user; returns when Kafka has it.

    Raises:
        BrokerError: no broker answers.
        TopicError: there is no events topic.
        aiokafka.errors.KafkaError: it was not acknowledged.
    """
    require_broker(settings)
    async with OffsetReader(settings) as offsets:
        await offsets.partitions(settings.events_topic)
    async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
        stored = await producer.send_and_wait(
            settings.events_topic, encode_event(event), key=event.user_id.encode()
        )
    return SentForget(event.event_id, event.time, stored.topic, stored.partition, stored.offset)


async def wait_until_done(
    settings: Settings,
    sent: SentForget,
    *,
    progress: Callable[[int], None] = lambda behind: None,
    stall_s: float = STALL_S,
) -> bool:
    """Wait until the workers' group has committed past the event; their commits are only read.

    Args:
        settings: brokers and the workers' group.
        sent: the event.
        progress: called with the number of records that the group has to commit yet.
        stall_s: the group may stand still for so long.

    Returns:
        False where the group has stood still for ``stall_s``: no worker serves the partition.
    """
    place = TopicPartition(sent.topic, sent.partition)
    best, deadline = -1, time.monotonic() + stall_s
    async with OffsetReader(settings) as offsets:
        while True:
            committed = (await offsets.committed(settings.group, [place])).get(place, 0)
            if committed > sent.offset:
                return True
            if committed > best:
                best, deadline = committed, time.monotonic() + stall_s
            elif time.monotonic() > deadline:
                return False
            progress(sent.offset + 1 - committed)
            await asyncio.sleep(PAUSE_S)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
