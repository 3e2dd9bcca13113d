"""The brokers that one suite runs against, with the same few methods."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stream.embedded_broker import EmbeddedBroker
from tests.apache_kafka import ApacheKafka

PATIENCE_S = 60.0


class Broker(Protocol):
    """What a test may ask of its broker."""

    @property
    def bootstrap(self) -> str:
        """``bootstrap.servers`` of clients."""

    def create_topics(
        self, topics: Mapping[str, int], config: Mapping[str, str] | None = None
    ) -> None:
        """Make topics: name -> number of partitions. The embedded broker takes no `config`."""


class EmbeddedBackend:
    """The embedded broker."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    @property
    def bootstrap(self) -> str:
        """``127.0.0.1:port``."""
        return self._broker.bootstrap

    def create_topics(
        self, topics: Mapping[str, int], config: Mapping[str, str] | None = None
    ) -> None:
        """Make topics; `config` is refused, for the embedded broker would not follow it."""
        assert not config, "mark the test with `kafka`: the embedded broker has no topic settings"
        for name, partitions in topics.items():
            self._broker.create_topic(name, partitions)


class KafkaBackend:
    """Apache Kafka, shared by all modules; what a module made goes with `close`."""

    def __init__(self, kafka: ApacheKafka) -> None:
        self.bootstrap = kafka.bootstrap
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})

    def create_topics(
        self, topics: Mapping[str, int], config: Mapping[str, str] | None = None
    ) -> None:
        """Make topics, each with one copy, and wait until Kafka knows them."""
        new = [
            NewTopic(name, count, 1, config=dict(config or {})) for name, count in topics.items()
        ]
        for result in self._admin.create_topics(new).values():
            result.result(PATIENCE_S)
        self._wait_until(lambda names: names >= topics.keys())

    def close(self) -> None:
        """Delete every topic, so that the next module can use the same names."""
        names = self._names()
        if names:
            for result in self._admin.delete_topics(list(names)).values():
                result.result(PATIENCE_S)
        self._wait_until(lambda left: not left)

    def _names(self) -> set[str]:
        topics = self._admin.list_topics(timeout=PATIENCE_S).topics
        return {name for name in topics if not name.startswith("__")}

    def _wait_until(self, reached: Callable[[set[str]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not reached(self._names()):
            assert time.monotonic() < deadline, "Kafka did not come to the topics it was asked for"
            time.sleep(0.05)
