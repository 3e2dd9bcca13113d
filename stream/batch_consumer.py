"""The Faust consumer for batches: delivery, acknowledgement, commit and rebalance."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import mode
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import ConsumerStoppedError
from faust.exceptions import ImproperlyConfigured
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from serving import metrics
from stream.acknowledge import AckQueue, Token
from stream.batch_fetch import BatchConsumerThread, Fetch
from stream.batch_topic import BatchMessage, BatchTopic, RecordBatch, not_through_micro_batches
from stream.fetched_record import FetchedRecord
from stream.stalls import Standing

SCHEME = "batch"
MAX_POLL_RECORDS = 8000  # what one fetch hands over, all partitions together
MAX_WAITING = 16_000_000  # bytes at the handler and in its buffer before fetching stops
RECORD_BYTES = 1000  # of Python objects around a record's value
HELD_S = 0.1  # the longest time without a fetch beside a handler that asks for nothing


@dataclass(slots=True)
class _Partition:
    """What the event loop of the agents knows of one partition."""

    queue: AckQueue = field(default_factory=AckQueue)
    assignment: Assignment | None = None  # the one its deliveries belong to
    highwater: int | None = None  # as the last fetch told
    given_to: int = 0  # end of what was ever delivered
    moves: int = 0  # moves asked for; the consumer's thread counts those it has made


def memory_of(records: tuple[FetchedRecord, ...]) -> int:
    """Bytes that the records take, roughly; their keys are short."""
    values = sum([record.serialized_value_size for record in records])
    return RECORD_BYTES * len(records) + values


class BatchConsumer(driver.Consumer):
    """Delivers one message per partition and batch, and commits the done prefix."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._partitions: defaultdict[TP, _Partition] = defaultdict(_Partition)
        self._max_batch: dict[str, int] = {}
        self._settled = asyncio.Event()
        self._asked = asyncio.Event()
        super().__init__(*args, **kwargs)
        # Half a session: the broker still waits for us when the other half begins.
        self.drain_seconds = 0.5 * self.app.conf.broker_session_timeout

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe; raises ImproperlyConfigured for a topic that is no `batch_topic`."""
        for channel in self.app.topics:
            if not isinstance(channel, BatchTopic):
                raise ImproperlyConfigured(
                    f"{channel} is an ordinary Faust topic, and a {SCHEME}:// broker delivers"
                    " batches: declare it with batch_topic(app, name)."
                )
            for name in channel.topics:
                known = self._max_batch.get(name, channel.max_batch)
                self._max_batch[name] = min(known, channel.max_batch)
        await super().subscribe(topics)

    # -- delivery

    async def _drain_messages(self, fetcher: mode.ServiceT) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                while self.is_full:
                    self._settled.clear()
                    await self._settled.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HELD_S):
                        await self._asked.wait()
                fetched, _ = await self._wait_next_records(timeout=1.0)
                for tp, fetches in (fetched or {}).items():
                    for fetch in fetches:
                        await self._deliver(tp, fetch)
        except (asyncio.CancelledError, ConsumerStoppedError):
            if not self.app.should_stop:
                raise

    async def _deliver(self, tp: TP, fetch: Fetch) -> None:
        partition = self._partitions[tp]
        size = self._max_batch[tp.topic]
        for first in range(0, len(fetch.records), size):
            records = tuple(fetch.records[first : first + size])
            start = records[0].offset
            if fetch.moves != partition.moves:
                return  # moved back since: these records come again
            if not (self.flow_active and self._thread.holds(fetch.assignment)):
                self._move(tp, start, fetch.assignment)  # unread, if the assignment still stands
                return
            partition.assignment = fetch.assignment
            token = partition.queue.deliver(start, records[-1].offset + 1, memory_of(records))
            again = sum([record.offset < partition.given_to for record in records])
            if again:
                metrics.REDELIVERED.inc(again)
            partition.given_to = max(partition.given_to, token.end)
            if fetch.highwater is not None:
                partition.highwater = fetch.highwater
                self._tell_lag(tp)
                self.app.monitor.track_tp_end_offset(tp, fetch.highwater)
            batch = RecordBatch(tp.topic, tp.partition, records)
            self._asked.clear()
            await self.callback(BatchMessage(batch, token, self.app.consumer_generation_id))

    def _move(self, tp: TP, offset: int, assignment: Assignment | None) -> None:
        # Counted here at once and by the thread when done: what was fetched in between is dropped.
        partition = self._partitions[tp]
        partition.moves += 1
        self._thread.move(tp, offset, partition.moves, assignment)

    async def _seek(self, partition: TP, offset: int) -> None:
        self._drop([partition])
        self._move(partition, offset, self._thread.current_assignment())

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: MAX_WAITING limits the buffers, for all partitions alike.

        Faust would leave full partitions out of the fetch, and sleep a second where all are.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing, see `on_buffer_full`."""

    # -- acknowledgement

    def take(self, message: BatchMessage) -> bool:
        """Count `message` as in work; False where it is overtaken and must not be handled."""
        if not message.token.open:
            return False
        message.token.taken = True
        current = message.generation_id == self.app.consumer_generation_id
        if not (current and self.app.flow_control.is_active()):
            self.nack(message)
            return False
        if not message.tracked:
            message.tracked = True
            self.track_message(message)
        # Else Faust's watch calls a partition idle whose batches seldom come first in a list.
        self.app.monitor.stream_inbound_time[message.tp] = monotonic()
        return True

    def ask(self) -> None:
        """The handler is ready for more: have what has come meanwhile fetched, all at once."""
        self._asked.set()

    def ack(self, message: Message) -> bool:
        """Mark a batch done; its offset is committed when all before it is done too."""
        assert isinstance(message, BatchMessage)
        if not message.token.taken:
            raise not_through_micro_batches(message)
        done = self._partitions[message.tp].queue.done(message.token)
        self._unacked_messages.discard(message)
        self.app.sensors.on_message_out(message.tp, message.offset, message)
        self._settled.set()
        self._tell_lag(message.tp)
        return done

    def nack(self, message: BatchMessage) -> bool:
        """Give a batch back: it, and what its partition delivered after it, comes again."""
        return self._rewind(message.tp, message.token)

    def abandon(self, topics: Iterable[str]) -> None:
        """Give back what a handler of `topics` took and, because it raised, did not settle."""
        for tp in [tp for tp in self._partitions if tp.topic in set(topics)]:
            token = self._partitions[tp].queue.oldest_taken()
            if token is not None:
                self.log.warning(
                    "%s[%s]: the handler ended without an answer, delivering again from offset %s",
                    *(tp.topic, tp.partition, token.start),
                )
                self._rewind(tp, token)

    def _rewind(self, tp: TP, token: Token) -> bool:
        partition = self._partitions[tp]
        rewound = partition.queue.rewind(token)
        if rewound:
            self._move(tp, token.start, partition.assignment)
            self._settled.set()
        return rewound

    def _tell_lag(self, tp: TP) -> None:
        partition = self._partitions[tp]
        first = partition.queue.first_undone
        if first is not None and partition.highwater is not None:
            gauge = metrics.LAG.labels(tp.topic, tp.partition)
            gauge.set(max(0, partition.highwater - first))

    # -- liveness

    def watched(self) -> dict[TP, Standing]:
        """How far each partition of this worker has come; none while it is given none."""
        assignment = self._thread.current_assignment()
        if not self.flow_active or assignment is None or not assignment.active:
            return {}
        return {(tp := TP(*place)): self._standing(tp) for place in assignment.tps}

    def _standing(self, tp: TP) -> Standing:
        queue, committed = self._partitions[tp].queue, self._committed_offset[tp]
        taken = queue.oldest_taken()
        return Standing(
            position=self._thread.place(tp),
            undone_from=queue.first_undone if queue.waiting else None,
            taken_from=None if taken is None else taken.start,
            is_uncommitted=(queue.committable or 0) > (committed or 0),
        )

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the handler that nothing is fetched."""
        return self._waiting() >= MAX_WAITING

    @property
    def commits(self) -> int:
        """Commits that were answered so far, well or not."""
        return self._thread.commits

    def is_thread_silent(self) -> bool:
        """Whether the consumer's thread has not answered since this was asked before."""
        is_silent = self._thread.answered < self._thread.asked
        if not is_silent:
            self._thread.ask()
        return is_silent

    def _waiting(self) -> int:
        return sum(partition.queue.waiting for partition in self._partitions.values())

    def _drop(self, partitions: Iterable[TP]) -> None:
        for tp in partitions:
            self._partitions[tp].queue.drop()
            # Whoever has the partition tells; `remove` takes what is not there as well.
            metrics.LAG.remove(tp.topic, tp.partition)
        self._settled.set()

    # -- commit and rebalance

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp for tp in self._partitions if topics is None or tp in topics or tp.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        return self._partitions[tp].queue.committable

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        if not committed:
            # Faust notes them as committed all the same, and would never try again.
            for tp, offset in offsets.items():
                if self._committed_offset[tp] == offset:
                    self._committed_offset[tp] = before[tp]
        return bool(committed)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let batches in work end and commit, and only then forget them: all are revoked."""
        await super().on_partitions_revoked(revoked)
        self._drop(list(self._partitions))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start from nothing: a delivery that slipped in between belongs to no one."""
        self._drop(list(self._partitions))
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Wait for the batches in work, at most `drain_seconds`, then commit the done prefix."""
        deadline = self.loop.time() + self.drain_seconds
        while (busy := self._in_work()) and not self.should_stop:
            remaining = deadline - self.loop.time()
            if remaining <= 0:
                self.log.warning(
                    "No longer waiting for the batches in work in partitions %s after %s s: they"
                    " are not committed and will be delivered again.",
                    *([f"{tp.topic}[{tp.partition}]" for tp in busy], self.drain_seconds),
                )
                break
            self._settled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), remaining)
        if not self._thread.should_stop:  # a crash has closed its loop, and nothing would answer
            await self._commit_last()

    async def _commit_last(self) -> None:
        try:
            async with asyncio.timeout(self.drain_seconds):
                # commit() only waits where one is under way, which may have begun before the
                # last ack: then, and where there was nothing to commit, it tells False.
                if not await self.commit(start_new_transaction=False):
                    await self.commit(start_new_transaction=False)
        except TimeoutError:
            self.log.error(
                "The last commit was not answered within %s s: what was done since the one before"
                " will be delivered again.",
                self.drain_seconds,
            )

    def _in_work(self) -> list[TP]:
        return [tp for tp, known in self._partitions.items() if known.queue.oldest_taken()]


class BatchTransport(driver.Transport):
    """The aiokafka transport with batches: ``batch://host:port;host:port``.

    ``batch://host:port?fetch_wait_ms=10`` changes how long the broker may hold a fetch that finds
    nothing. Kafka answers as soon as a record arrives; the embedded broker always waits to the end,
    so there a short wait is what makes a lone event fast.
    """

    Consumer = BatchConsumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:{BatchTransport.__name__}"
