"""How far the group has come, and how long each fault held it up."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

LOOK_S = 0.25
ANSWER_S = 5.0


@dataclass
class _Wound:
    """A fault that not every partition has got over."""

    begin: float
    ends: Mapping[int, int]
    """By partition, where the log ended when the fault came."""
    committed: dict[int, int] | None = None
    """By partition, at the first look after the fault."""


class Progress:
    """A thread that looks at the committed offsets of the group, four times a second.

    Args:
        brokers: where to look, past all proxies.
        group: whose offsets.
        topic: of the events.
        partitions: of that topic.
    """

    def __init__(self, brokers: str, group: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "log_level": 0})
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._lock = threading.Lock()
        self._wounds: list[_Wound] = []
        self.committed = dict.fromkeys(range(partitions), 0)
        self.recoveries: list[float] = []
        """Seconds from each fault until every partition went on, in order of recovery."""
        self.moved_at = time.monotonic()
        """When the group last came on."""

    def __enter__(self) -> Self:
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

    @property
    def done(self) -> int:
        """Records that are committed."""
        return sum(self.committed.values())

    def wound(self, ends: Callable[[], Mapping[int, int]]) -> None:
        """A fault comes now, while the log ends there."""
        with self._lock:
            self._wounds.append(_Wound(time.monotonic(), dict(ends())))

    def _run(self) -> None:
        while not self._is_ending.wait(LOOK_S):
            asked = time.monotonic()
            try:
                found = self._consumer.committed(self._places, timeout=ANSWER_S)
            except KafkaException:
                continue  # the broker is away: that is what we are here for
            if any(place.error is not None for place in found):
                continue
            offsets = {place.partition: max(0, place.offset) for place in found}
            if offsets != self.committed:
                self.moved_at = time.monotonic()
                self.committed = offsets
            self._heal(asked, offsets)

    def _heal(self, asked: float, offsets: dict[int, int]) -> None:
        now = time.monotonic()
        with self._lock:
            for wound in list(self._wounds):
                if wound.committed is None:
                    if asked > wound.begin:
                        wound.committed = offsets
                elif all(
                    offsets[each] > before or before >= wound.ends.get(each, 0)
                    for each, before in wound.committed.items()
                ):
                    self._wounds.remove(wound)
                    self.recoveries.append(now - wound.begin)


def summary(seconds: list[float]) -> dict[str, float | None]:
    """Median and maximum; None where nothing was measured."""
    if not seconds:
        return {"p50": None, "max": None}
    return {"p50": round(median(seconds), 2), "max": round(max(seconds), 2)}
