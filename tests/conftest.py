"""The servers that tests run against: the embedded ones, or Apache Kafka and Redis.

``NEXTCLICK_TEST_BACKEND=embedded`` (the default) or ``kafka`` chooses. Tests marked ``kafka`` need
what only Apache Kafka has and are deselected under the embedded backend; the others use whichever
broker they are given.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import redis

from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis
from stream.embedded_redis import free_port as any_free_port
from stream.settings import Settings
from stream.topics import create_topics, plan_topics
from tests.apache_kafka import ApacheKafka, fetch_kafka
from tests.backends import Broker, EmbeddedBackend, KafkaBackend
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BACKEND = os.environ.get("NEXTCLICK_TEST_BACKEND", "embedded")
KAFKA_CACHE = Path(__file__).parent.parent / ".nextclick" / "kafka"
MESSAGE_BYTES = 3_000_000  # room for the 2 MB record that must end as a dead letter

# An example may take longer than Hypothesis' 200 ms where the machine does other work.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_configure() -> None:
    if BACKEND not in {"embedded", "kafka"}:
        raise pytest.UsageError(
            f"NEXTCLICK_TEST_BACKEND is {BACKEND!r}; it must be 'embedded' or 'kafka'"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if BACKEND == "kafka":
        return
    needing_kafka = [item for item in items if item.get_closest_marker("kafka")]
    if needing_kafka:
        config.hook.pytest_deselected(items=needing_kafka)
        items[:] = [item for item in items if item not in needing_kafka]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Such small matrices gain nothing from a second thread and wait long for a busy one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def kafka_classpath() -> Path:
    """The folder of Apache Kafka's jars."""
    return fetch_kafka(KAFKA_CACHE)


@pytest.fixture(scope="session")
def apache_kafka(
    kafka_classpath: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApacheKafka]:
    """One Apache Kafka for the whole run: it takes seconds to start."""
    with ApacheKafka(kafka_classpath, tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker without topics."""
    if BACKEND == "kafka":
        backend = KafkaBackend(request.getfixturevalue("apache_kafka"))
        yield backend
        backend.close()
    else:
        with EmbeddedBroker({}) as embedded:
            yield EmbeddedBackend(embedded)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis of the module's own; empty only at the module's start."""
    with RedisServer() if BACKEND == "kafka" else EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of a Redis without keys and functions."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.function_flush()
    return redis_server.url


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real browser."""
    from tests.chromium import opened

    with opened() as found:
        yield found


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return any_free_port()


@pytest.fixture(scope="module")
def stream_settings(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stream whose servers run and whose topics exist; the bundle is yet to come."""
    settings = Settings(
        brokers=broker.bootstrap,
        embedded=BACKEND == "embedded",
        redis_url=redis_server.url,
        bundle=tmp_path_factory.mktemp("stream") / "bundle",
        provider="cpu",
        events_max_message_bytes=MESSAGE_BYTES,
    )
    if settings.embedded:
        broker.create_topics({plan.name: plan.partitions for plan in plan_topics(settings)})
    else:
        create_topics(settings)
    return settings
