"""Reads topics as they grow, past all proxies, from their beginning to wherever they end."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

FETCH_BYTES = 8_000_000


class Tail:
    """A thread that hands each record of some topics to `take`, in offset order per partition.

    Args:
        brokers: where to read.
        topics: name -> number of partitions.
        take: called in the thread; an error of it is kept in `error` and ends the thread.
    """

    def __init__(
        self, brokers: str, topics: dict[str, int], take: Callable[[Message], None]
    ) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "chaos-tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.message.max.bytes": FETCH_BYTES,
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        # Another connection: behind a fetch that waits, the embedded broker answers nothing.
        self._surveyor = Consumer(
            {"bootstrap.servers": brokers, "group.id": "chaos-ends", "log_level": 0}
        )
        self._places = [
            TopicPartition(topic, partition, 0)
            for topic, count in topics.items()
            for partition in range(count)
        ]
        self._take = take
        self._read = dict.fromkeys(((each.topic, each.partition) for each in self._places), 0)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._consumer.assign(self._places)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ending.set()
        self._thread.join()
        self._consumer.close()
        self._surveyor.close()

    def read(self, topic: str) -> dict[int, int]:
        """By partition, the offset up to which the topic was read."""
        return {partition: end for (name, partition), end in self._read.items() if name == topic}

    def is_at_end(self) -> bool:
        """Whether everything that the topics hold now was read."""
        for place in self._places:
            _, end = self._surveyor.get_watermark_offsets(place, timeout=10.0)
            if self._read[place.topic, place.partition] < end:
                return False
        return True

    def _run(self) -> None:
        try:
            while not self._is_ending.is_set():
                for message in self._consumer.consume(2_000, timeout=0.1):
                    self._hand_over(message)
        except BaseException as error:
            self.error = error

    def _hand_over(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise RuntimeError(f"the log cannot be read: {error}")
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        due = self._read[topic, partition]
        if offset != due:
            raise RuntimeError(
                f"{topic}[{partition}] goes on at offset {offset} where {due} is due: the broker "
                "has dropped records before they were read"
            )
        self._take(message)
        self._read[topic, partition] = offset + 1
