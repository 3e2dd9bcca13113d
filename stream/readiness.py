"""Waiting for a part that is away: with back-off and jitter, told by two gauges and two log lines.

Nothing is given up here. What a worker holds stays unacknowledged while it waits, and the worker
goes on by itself when the part is back.
"""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaStorageError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    DataError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from serving import metrics
from serving.ranker import RankerError
from serving.store import StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10.0


class Part(StrEnum):
    """What a worker may have to wait for."""

    REDIS = "redis"
    KAFKA = "kafka"
    MODEL = "model"
    PATH = "path"
    """Our own code, where it fails for every event."""


# What the server says of itself and not of a command: the first word of an error, which stands in
# mid-sentence where it comes out of a function.
_OUTAGE = re.compile(
    r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOAUTH|NOPERM|NOREPLICAS|OOM|READONLY"
    r"|TRYAGAIN|UNBLOCKED|WRONGPASS)\b|Function not found|max number of clients"
)
_ADVICE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (AuthenticationError, AuthorizationError, NoPermissionError),
        "correct `redis_username` and `redis_password`, or the user's rights (nextclick acl)",
    ),
    (OutOfMemoryError, "give Redis more memory (maxmemory), or remove what is not nextclick's"),
    (ReadOnlyError, "`redis_url` leads to a replica: it has to lead to the primary"),
    (KafkaStorageError, "a disk of the broker is full or broken"),
    (NotEnoughReplicasError, "too few brokers are up for `min_insync_replicas`"),
    (UnknownTopicOrPartitionError, "make the topics: nextclick topics"),
    (
        (
            ClusterAuthorizationFailedError,
            GroupAuthorizationFailedError,
            TopicAuthorizationFailedError,
        ),
        "this Kafka user lacks a right: nextclick acl --of kafka",
    ),
    (MessageSizeTooLargeError, "raise max.message.bytes of the topic: nextclick topics"),
)


def part_at_fault(error: BaseException) -> Part | None:
    """The part whose fault `error` is; None where an event may have caused it."""
    match error:
        case RankerError():
            return Part.MODEL
        case DataError():
            return None
        case ResponseError() if type(error) is ResponseError:
            return Part.REDIS if _OUTAGE.search(str(error)) else None
        case RedisError() | StoreError():
            return Part.REDIS
        case KafkaError():
            return Part.KAFKA
    return None


class Readiness:
    """Whether this worker serves, and who in it waits for what. Of one event loop."""

    def __init__(self) -> None:
        self._is_open = False
        self._waits: dict[str, tuple[Part, set[type[BaseException]]]] = {}
        self.causes: tuple[str, ...] = ()
        """Why this worker does not serve, a sentence each; may be read in any thread."""
        self.endings = 0
        """Steps of what may take long, such as to find a poisonous record: whoever makes them does
        not hang."""
        self._tell()

    @property
    def is_ready(self) -> bool:
        """True once the worker has started and while nobody in it waits."""
        return self._is_open and not self._waits

    @property
    def waiting_for(self) -> frozenset[Part]:
        """The parts that somebody waits for."""
        return frozenset(part for part, _ in self._waits.values())

    def open(self) -> None:
        """The worker has started."""
        self._is_open = True
        self._tell()

    def close(self) -> None:
        """The worker stops."""
        self._is_open = False
        self._tell()

    def end_attempt(self) -> None:
        """Something that may take long has come to an end, or a step nearer to it."""
        self.endings += 1

    def wait(self, waiter: str, part: Part, error: BaseException) -> None:
        """`waiter` cannot go on because of `error`; logged once for each kind of error."""
        self.end_attempt()
        metrics.RETRIES.labels(part).inc()
        known = self._waits.get(waiter)
        kinds = known[1] if known is not None and known[0] is part else set()
        if type(error) not in kinds:
            logger.warning("%s: waiting for %s: %s", waiter, part, told(error))
        self._waits[waiter] = (part, kinds | {type(error)})
        self._tell()

    def go_on(self, waiter: str) -> None:
        """`waiter` goes on, if it has waited at all."""
        if (known := self._waits.pop(waiter, None)) is not None:
            logger.warning("%s: %s is back", waiter, known[0])
            self._tell()

    def _tell(self) -> None:
        for part in Part:
            metrics.WAITING.labels(part).set(sum(each is part for each, _ in self._waits.values()))
        metrics.READY.set(self.is_ready)
        away = tuple(f"{part} is away" for part in sorted(self.waiting_for))
        self.causes = away or (() if self._is_open else ("it starts, or stops",))


class Backoff:
    """Waits that double up to a bound. The jitter keeps workers from coming back all at once."""

    def __init__(self) -> None:
        self._next_s = FIRST_WAIT_S

    async def wait(self) -> None:
        """Sleep for half to all of the present wait, and double it."""
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1.0))
        self._next_s = min(2 * self._next_s, LONGEST_WAIT_S)


async def wait_out(
    readiness: Readiness,
    waiter: str,
    step: Callable[[], Awaitable[T]],
    part: Part,
    *,
    raises: Callable[[Exception], bool] = lambda error: False,
) -> T:
    """Run `step` until it succeeds.

    Args:
        readiness: where a wait is told.
        waiter: who waits, for a person to read; one step at a time each.
        step: may be run any number of times.
        part: whose fault it is where the error does not tell.
        raises: True for errors that are not to be waited out; these come out of this function.
    """
    backoff = Backoff()
    try:
        while True:
            try:
                return await step()
            except Exception as error:
                if raises(error):
                    raise
                readiness.wait(waiter, part_at_fault(error) or part, error)
            await backoff.wait()
    finally:
        readiness.go_on(waiter)


def told(error: BaseException) -> str:
    """The error for a person to read, with what mends it where that is known."""
    advice = next((words for kind, words in _ADVICE if isinstance(error, kind)), None)
    name = type(error).__name__
    said = f"{name}: {str(error).removeprefix(name).removeprefix(': ')}".rstrip(": ")
    return said if advice is None else f"{said}; {advice}"
