"""Fetching for batches: the thread that owns the aiokafka consumer and its positions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    NotCoordinatorForGroupError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.exceptions import ImproperlyConfigured
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from serving import metrics
from stream.closed_connection import take_for_broken
from stream.complaint import complaint
from stream.fetched_record import FetchedRecord, fetch_records_fast
from stream.header_names import read_any_header_name

# How long the broker may hold a fetch that finds nothing. A partition that was moved is fetched
# only when the fetch under way has returned, so this bounds the way back after a nack; Faust's
# 1,500 is too long for that. Ten fetches a second are what an idle worker then costs.
FETCH_WAIT_MS = "100"
ASK_AGAIN_S = 0.5
STOP_S = 5.0  # for leaving the group and closing connections
NOTHING_COMMITTED = -1


class OffsetOutOfRange(RuntimeError):
    """The log no longer, or not yet, holds the offset where this group has to go on."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Records of one partition as they left aiokafka, with what is needed to see them overtaken."""

    records: list[FetchedRecord]
    assignment: Assignment
    moves: int
    highwater: int | None


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer: fetches, and moves positions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._moves: defaultdict[TP, int] = defaultdict(int)
        self._commit_fault: type[Exception] | None = None  # told once, not at every try
        self.commits = 0
        """Commits that have been answered, well or not; readable from any thread."""
        self.asked = 0
        self.answered = 0
        """Calls of `ask` that have been answered; readable from any thread."""
        self._is_asked = True

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        if self.app.conf.consumer_auto_offset_reset != "none":
            raise ImproperlyConfigured(
                "consumer_auto_offset_reset must be 'none': anything else skips lost records in"
                " silence. Create the app with faust.App(..., **faust_settings())."
            )
        wait = _fetch_wait_ms(transport)
        read_any_header_name()
        fetch_records_fast()
        take_for_broken()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = wait
        return consumer

    def _fetch_when_asked(self, fetcher: Fetcher) -> None:
        """Send a fetch for `getmany` only; by itself aiokafka sends one as soon as records are out.

        That one is answered at the next record: as many fetches as records, each with a delivery of
        its own, beside a handler that is at work and takes them together anyway.
        """
        actions = fetcher._get_actions_per_node

        def asked(assignment: Assignment) -> tuple[Any, ...]:
            requests, *others = actions(assignment)
            return (requests if self._is_asked else [], *others)

        fetcher._get_actions_per_node = asked

    async def on_start(self) -> None:
        """Connect, however long the broker is away: it may have gone since the worker's start."""
        is_told = False
        while True:
            try:
                await super().on_start()
            except KafkaConnectionError as error:
                if self.should_stop or self.app.should_stop:
                    raise
                if not is_told:
                    self.log.warning("the broker cannot be reached (%r); trying again", error)
                is_told = True
            else:
                return self._fetch_when_asked(self._ensure_consumer()._fetcher)
            await self._close()
            await asyncio.sleep(ASK_AGAIN_S)

    async def on_thread_stop(self) -> None:
        """Close the aiokafka consumer, in a bounded time.

        While a broker is away its stop() lets the cancellation of one of its own tasks out, before
        it has closed its connections. mode does not expect that and would wait for the end of this
        thread for ever.
        """
        with suppress(asyncio.CancelledError, TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_S):
                await super().on_thread_stop()
                return
        if self._consumer is not None:
            with suppress(asyncio.CancelledError, TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_S):
                    await self._consumer._client.close()

    async def _close(self) -> None:
        """Close a consumer that has not come to its start."""
        if self._consumer is not None:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_S):
                    await self._consumer.stop()

    async def getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 (Faust's signature)
    ) -> Mapping[TP, list[Any]]:
        """Fetch in the thread; straight, because Faust's queue of calls takes several turns."""
        consumer = self._ensure_consumer()
        fetching = self._fetch_records(
            consumer, active_partitions or set(), timeout, consumer._max_poll_records
        )
        called = asyncio.run_coroutine_threadsafe(fetching, self.thread_loop)
        return await asyncio.wrap_future(called)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Tell the committed offsets, and leave the positions alone.

        Faust calls this after each rebalance, where aiokafka starts at the committed offsets by
        itself; a seek here could rewind a partition behind our back.
        """
        return cast(Mapping[TP, int], await self.call_thread(self._committed))

    async def _committed(self) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        partitions = list(consumer.assignment())
        offsets = await asyncio.gather(*(consumer.committed(tp) for tp in partitions))
        return {TP(tp.topic, tp.partition): at for tp, at in zip(partitions, offsets, strict=True)}

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        if not self._is_asked:
            self._is_asked = True
            consumer._fetcher._notify(consumer._fetcher._wait_consume_future)
        try:
            fetched = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=max_records
            )
        except NoOffsetForPartitionError as error:
            [tp] = error.args
            if tp in consumer.assignment() and await self._is_new(consumer, tp):
                await consumer.seek_to_beginning(tp)
            return {}  # else aiokafka asks again for what is committed
        except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
            # It ends the worker, whose next start tells all that is missing.
            self.log.error("%s", complaint(error))
            raise
        except OffsetOutOfRangeError as error:
            [(tp, offset)] = error.args[0].items()
            if tp in consumer.assignment():
                raise await self._out_of_range(consumer, tp, offset) from error
            return {}
        self._is_asked = not fetched
        # No await since the records left aiokafka's buffer, so assignment and moves are theirs.
        assignment = self.current_assignment()
        return {
            (known := TP(tp.topic, tp.partition)): [
                Fetch(records, assignment, self._moves[known], consumer.highwater(tp))
            ]
            for tp, records in fetched.items()
        }

    async def _is_new(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> bool:
        """Whether this group has really committed nothing for a partition.

        aiokafka 0.14.0 does not read the error of a whole OffsetFetch answer: one that a broker
        refuses, because it has just been started, looks like a group that has committed nothing.
        """
        coordinator = consumer._coordinator
        request = OffsetFetchRequest(coordinator.group_id, [(tp.topic, [tp.partition])])
        try:
            response = await coordinator._send_req(request)
            # The first version has no such field, and aiokafka reads all of its errors.
            codes = {getattr(response, "error_code", 0)}
            found = [known for _, partitions in response.topics for known in partitions]
            codes |= {error for _, _, _, error in found}
            for code in codes - {0}:
                raise for_code(code)()
        except KafkaError as error:
            if isinstance(error, NotCoordinatorForGroupError):
                coordinator.coordinator_dead()
            self.log.warning(
                "%s[%s]: what this group has committed is not known yet (%r); asking again",
                *(tp.topic, tp.partition, error),
            )
            await asyncio.sleep(ASK_AGAIN_S)
            return False
        return [offset for _, offset, _, _ in found] == [NOTHING_COMMITTED]

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit once; False where that failed, and the next commit brings newer offsets.

        aiokafka's own commit tries on for as long as the coordinator is away. By the time it comes
        through, the partition may be another member's, whose commit it would take back; and what
        it then raises would end the worker.
        """
        consumer = self._ensure_consumer()
        coordinator, assignment = consumer._coordinator, self.current_assignment()
        try:
            async with asyncio.timeout(self.app.conf.broker_request_timeout):
                await coordinator.ensure_coordinator_known()
                async with coordinator._commit_lock:
                    if assignment is None or not self.holds(assignment):
                        return False
                    ours = {
                        driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
                        for tp, offset in offsets.items()
                        if driver.ensure_aiokafka_TP(tp) in assignment.tps
                    }
                    self.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
                    await coordinator._do_commit_offsets(assignment, ours)
        except (KafkaError, TimeoutError) as error:
            if type(error) is not self._commit_fault:
                self.log.warning("offsets cannot be committed (%r); trying again", error)
            self._commit_fault = type(error)
            self.commits += 1
            metrics.COMMITS.labels("failed").inc()
            return False
        self.commits += 1
        metrics.COMMITS.labels("done").inc()
        if self._commit_fault is not None:
            self.log.warning("offsets are committed again")
            self._commit_fault = None
        return True

    async def _out_of_range(self, consumer: AIOKafkaConsumer, tp: TP, at: int) -> OffsetOutOfRange:
        first = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        message = out_of_range(self.app.conf.id, TP(tp.topic, tp.partition), at, first, end)
        self.log.error(message)
        return OffsetOutOfRange(message)

    def holds(self, assignment: Assignment | None) -> bool:
        """True while `assignment` is the current one; readable from any thread."""
        current = self.current_assignment()
        return current is assignment and current is not None and bool(current.active)

    def current_assignment(self) -> Assignment | None:
        """What the group gave us last, active or not; readable from any thread."""
        subscription = self._ensure_consumer()._subscription.subscription
        return None if subscription is None else subscription.assignment

    def place(self, tp: TP) -> int | None:
        """Offset of the next record to leave aiokafka; readable from any thread."""
        assignment = self.current_assignment()
        state = (
            None if assignment is None else assignment.state_value(driver.ensure_aiokafka_TP(tp))
        )
        return state.position if state is not None and state.has_valid_position else None

    def ask(self) -> None:
        """Have this thread answer, unless it hangs; from any thread."""
        self.asked += 1
        with suppress(RuntimeError):  # the loop is closed: we are stopping
            self.thread_loop.call_soon_threadsafe(self._answer, self.asked)

    def _answer(self, number: int) -> None:
        self.answered = number

    def move(self, tp: TP, offset: int, moves: int, assignment: Assignment | None) -> None:
        """Have the thread go on at `offset` if `assignment` still stands; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: we are stopping
            self.thread_loop.call_soon_threadsafe(self._move, tp, offset, moves, assignment)

    def _move(self, tp: TP, offset: int, moves: int, assignment: Assignment | None) -> None:
        self._moves[tp] = moves
        if self.holds(assignment):
            self._ensure_consumer().seek(driver.ensure_aiokafka_TP(tp), offset)


def out_of_range(group: str, tp: TP, at: int, first: int, end: int) -> str:
    """What a person reads where `group` needs offset `at` and the broker holds [first, end)."""
    lost = (
        f"{first - at} records were deleted before this group had read them"
        if at < first
        else "the topic was recreated or lost its end"
    )
    return (
        f"{tp.topic}[{tp.partition}]: this group has to go on at offset {at}, but the broker holds"
        f" [{first}, {end}): {lost}. Stop all workers, choose where to go on"
        f" (kafka-consumer-groups.sh --group {group} --topic {tp.topic}:{tp.partition}"
        " --reset-offsets --to-earliest --execute), and start them."
    )


def _fetch_wait_ms(transport: driver.Transport) -> int:
    wait = transport.url[0].query.get("fetch_wait_ms", FETCH_WAIT_MS)
    if not wait.isdecimal() or int(wait) < 1:
        raise ImproperlyConfigured(
            f"fetch_wait_ms in the broker URL must be a number of milliseconds, not {wait!r}."
        )
    return int(wait)
