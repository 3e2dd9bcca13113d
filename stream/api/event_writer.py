"""Events into the events topic: checked by the contract, keyed by user, acknowledged one by one."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from msgspec import Meta

from stream.closing import close_producer
from stream.kafka import producer_arguments
from stream.settings import Settings
from stream.trace import Headers
from stream.tracing import Tracing, sending

logger = logging.getLogger(__name__)

NO_HEADERS: Mapping[str, str] = {}

Fate: TypeAlias = Literal["stored", "refused", "not_stored"]


class Written(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What has become of an event."""

    status: Annotated[
        Fate,
        Meta(
            description="`stored`: Kafka has it on every in-sync copy. `refused`: it breaks the "
            "contract, or this caller may not send it. `not_stored`: Kafka has not acknowledged "
            "it; send it again as it is, which counts once even if it was stored after all."
        ),
    ]
    partition: int | None = None
    offset: int | None = None
    reason: Annotated[str, Meta(description="A short code.")] | None = None
    detail: Annotated[str, Meta(description="What was wrong, and what to do.")] | None = None


class KeyedEvent(NamedTuple):
    """An event that keeps the contract, as it came."""

    key: bytes
    value: bytes
    is_forget: bool = False


class EventWriter:
    """One idempotent producer with acks=all for all requests.

    Args:
        settings: brokers and the events topic.
        tracing: what traces this process; None: nothing does.
    """

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing
        self.when_forgotten: list[Callable[[bytes], None]] = []
        """Each is called with the key of every ``forget`` event that is stored."""
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Connect, unless that is done. Raises KafkaError or TimeoutError where none answers."""
        async with self._opening:
            if self._producer is not None:
                return
            producer = AIOKafkaProducer(**producer_arguments(self._settings))
            try:
                async with asyncio.timeout(self._settings.kafka_timeout_s):
                    await producer.start()
            except BaseException:
                await close_producer(producer)
                raise
            self._producer = producer

    async def stop(self) -> None:
        """Wait a short time for what is on its way, and close."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def write(
        self, events: Sequence[KeyedEvent], request: Mapping[str, str] = NO_HEADERS
    ) -> list[Written]:
        """Write events, those of one key in their order; returns when the fate of each is known.

        ``request`` is the headers of the request, whose trace goes on where one is traced.
        """
        with sending(self._tracing, self._settings.events_topic, len(events), request) as headers:
            written = await self._write(events, headers)
        for event, fate in zip(events, written, strict=True):
            if event.is_forget and fate.status == "stored":
                for each in self.when_forgotten:
                    each(event.key)
        return written

    async def _write(self, events: Sequence[KeyedEvent], headers: Headers) -> list[Written]:
        try:
            await self.start()
            producer = self._producer
            assert producer is not None
            given = [await self._give(producer, each, headers) for each in events]
        except (KafkaError, TimeoutError) as error:
            await self._replace(self._producer)
            return [_not_stored(error)] * len(events)
        sent = [each for each in given if not isinstance(each, Written)]
        if sent:
            await asyncio.wait(sent, timeout=self._settings.kafka_timeout_s)
        written = [each if isinstance(each, Written) else _fate(each) for each in given]
        if any(each.status == "not_stored" for each in written):
            # Its sequence of records may have a hole now, which the broker would not accept.
            await self._replace(producer)
        return written

    async def _give(
        self, producer: AIOKafkaProducer, event: KeyedEvent, headers: Headers
    ) -> "asyncio.Future[Any] | Written":
        try:
            sent: asyncio.Future[Any] = await producer.send(
                self._settings.events_topic, event.value, key=event.key, headers=headers
            )
        except MessageSizeTooLargeError as error:
            return Written("refused", reason="too_large", detail=f"{error}; make it smaller")
        # Nobody may look at it any more when it fails.
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        return sent

    async def _replace(self, producer: AIOKafkaProducer | None) -> None:
        if producer is None or self._producer is not producer:
            return
        logger.warning("Kafka has not acknowledged events; the next ones go by a new producer")
        self._producer = None
        await close_producer(producer)


def _fate(sent: "asyncio.Future[Any]") -> Written:
    if not sent.done():
        return _not_stored(TimeoutError("no acknowledgement in time"))
    if (error := sent.exception()) is None:
        stored = sent.result()
        return Written("stored", stored.partition, stored.offset)
    if isinstance(error, MessageSizeTooLargeError):
        return Written("refused", reason="too_large", detail=f"{error}; make it smaller")
    return _not_stored(error)


def _not_stored(error: BaseException) -> Written:
    return Written(
        "not_stored",
        reason="kafka",
        detail=f"Kafka has not acknowledged it ({type(error).__name__}); send it again as it is",
    )
