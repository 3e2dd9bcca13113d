"""A small shop with running workers: what the tests of the whole stream share."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from model.blend import BlendWeights
from model.events import Click, Event, encode_event
from model.items import Item, encode_item
from serving.recommendation import Recommendation, decode_recommendation
from stream.kafka import kafka_python_arguments
from stream.settings import Settings
from stream.worker_process import WorkerProcess
from tests.tiny import tiny_bundle

T = TypeVar("T")

PATIENCE_S = 120.0
"""How long a test waits for something that is to happen: far longer than it takes."""

ITEMS = [
    Item(
        item_id=f"{name}-{number}",
        title=f"{title} {number}",
        category=(department, title),
        brand="Nordlicht",
        price=float(number),
    )
    for name, title, department in (
        ("phone", "智能手机", "电子产品"),
        ("chocolate", "chocolate bar", "sweets"),
        ("tea", "green tea", "drinks"),
        ("book", "كتاب", "books"),
    )
    for number in range(25)
]


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; fail, naming what did not happen, where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


class Shop:
    """Talks to the stream as a shop does: with kafka-python, over the topics alone."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        arguments = kafka_python_arguments(settings)
        self._producer = KafkaProducer(
            **arguments,
            max_request_size=4_000_000,
        )
        self._consumers = {
            topic: self._reader(topic, arguments)
            for topic in (settings.recommendations_topic, settings.dlq_topic)
        }
        self.lists: list[Recommendation] = []
        self.dead_letters: list[ConsumerRecord] = []
        self.workers: list[WorkerProcess] = []
        self._started = 0

    @staticmethod
    def _reader(topic: str, arguments: Mapping[str, object]) -> KafkaConsumer:
        return KafkaConsumer(
            topic,
            **arguments,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            group_id=None,
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=4_000_000,
        )

    def close(self) -> None:
        """Stop the workers and close the clients."""
        for worker in self.workers:
            worker.request_stop()
        statuses = [worker.stop() for worker in self.workers]
        self._producer.close()
        for consumer in self._consumers.values():
            consumer.close()
        assert all(status == 0 for status in statuses), f"workers ended with {statuses}"

    def start_workers(self, count: int) -> None:
        """Start workers and wait until each has joined the group."""
        for number in range(count):
            worker = WorkerProcess(
                self.settings, f"worker {number}", self.folder / f"worker-{self._started}.log"
            )
            self._started += 1
            self.workers.append(worker)
            worker.start()
        for worker in self.workers:
            worker.wait_ready()

    def publish_catalog(self, items: Sequence[Item]) -> None:
        """Write items to the catalogue."""
        for item in items:
            self._producer.send(
                self.settings.catalog_topic, key=item.item_id.encode(), value=encode_item(item)
            )
        self._producer.flush()

    def remove_item(self, item_id: str) -> None:
        """Write the tombstone of an item."""
        self._producer.send(self.settings.catalog_topic, key=item_id.encode(), value=None)
        self._producer.flush()

    def send(self, *events: Event) -> None:
        """Write events, keyed by user."""
        for event in events:
            self.send_bytes(encode_event(event), event.user_id.encode())
        self._producer.flush()

    def send_click(self, user_id: str, item_id: str) -> Click:
        """Write a click of this moment."""
        now = time.time_ns()
        event = Click(
            event_id=f"{user_id}-{now}", user_id=user_id, ts=now // 1_000_000, item_id=item_id
        )
        self.send(event)
        return event

    def send_bytes(
        self,
        value: bytes | None,
        key: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        *,
        topic: str | None = None,
    ) -> None:
        """Write any record to the events topic, or to another; not flushed."""
        topic = topic or self.settings.events_topic
        self._producer.send(topic, key=key, value=value, headers=headers or [])

    def flush(self) -> None:
        """Wait until everything is stored."""
        self._producer.flush()

    def poll(self) -> None:
        """Read what has come."""
        for records in self._consumers[self.settings.recommendations_topic].poll(100).values():
            self.lists.extend(decode_recommendation(record.value) for record in records)
        for records in self._consumers[self.settings.dlq_topic].poll(10).values():
            self.dead_letters.extend(records)

    def list_for(self, event: Event) -> Recommendation:
        """Wait for a list that has seen the event: one of its user, caused by it or later."""
        return self.wait_for(
            lambda: next((each for each in self.lists if each.event_id == event.event_id), None),
            f"a list for {event.event_id}",
        )

    def wait_for(self, find: Callable[[], T | None], what: str) -> T:
        """Poll until ``find`` finds something."""
        found: list[T] = []

        def look() -> bool:
            self.poll()
            if (result := find()) is not None:
                found.append(result)
            return bool(found)

        wait_until(look, what)
        return found[0]


@contextmanager
def running_shop(
    settings: Settings, folder: Path, *, workers: int = 1, items: Sequence[Item] = ITEMS
) -> Iterator[Shop]:
    """A shop with a tiny bundle, a catalogue and running workers."""
    shop = Shop(settings, folder)
    try:
        if not settings.bundle.exists():
            tiny_bundle(
                settings.bundle,
                [item.item_id for item in items],
                # The network is untrained: let what the stream has seen decide.
                blend=BlendWeights(network=0.1, repeat=1.0, covisit=1.0, popular=0.1),
            )
        shop.publish_catalog(items)
        shop.start_workers(workers)
        yield shop
    finally:
        shop.close()
