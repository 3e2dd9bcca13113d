"""Writes the traffic to the events topic, never far ahead of the workers."""

from collections.abc import Callable, Iterable

from confluent_kafka import Message as Delivered
from confluent_kafka import Producer

from tests.chaos.ledger import GARBAGE_HEADER
from tests.chaos.message import Message

POLL_EVERY = 100
MESSAGE_TIMEOUT_MS = 600_000
"""The broker is killed now and then; nothing of the log is given up for that."""


class TrafficError(RuntimeError):
    """A record could not be written."""


class TrafficProducer:
    """An idempotent producer, so that the log has no copies but those that are meant.

    Args:
        brokers: where to write, past all proxies.
        topic: of the events.
    """

    def __init__(self, brokers: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": MESSAGE_TIMEOUT_MS,
                "message.max.bytes": 4_000_000,
                "log_level": 0,
            }
        )
        self._errors: list[str] = []
        self.sent = 0

    def write(self, messages: Iterable[Message], wait_for_room: Callable[[int], bool]) -> None:
        """Write all of them; `wait_for_room` is told how many were sent and says whether to go on.

        Raises:
            TrafficError: the broker refused one.
        """
        for message in messages:
            if self.sent % POLL_EVERY == 0:
                self._poll()
                if not wait_for_room(self.sent):
                    return
            self._write_one(message)
            self.sent += 1
        self._producer.flush(MESSAGE_TIMEOUT_MS / 1000)
        self._poll()

    def _write_one(self, message: Message) -> None:
        while True:
            try:
                return self._producer.produce(
                    self._topic,
                    message.value,
                    key=message.key,
                    partition=message.partition,
                    headers=[(GARBAGE_HEADER, b"1")] if message.is_garbage else [],
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: object, _: Delivered) -> None:
        if error is not None:
            self._errors.append(str(error))

    def _poll(self) -> None:
        self._producer.poll(0)
        if self._errors:
            raise TrafficError(f"records could not be written: {self._errors[:3]}")
