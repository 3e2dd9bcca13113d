"""How batches are declared and configured, what is refused, and what we lean on in libraries."""

import importlib.metadata
import inspect
import logging
import re
import ssl
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from faust.exceptions import ImproperlyConfigured
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from serving import round_trip
from stream import batch_fetch
from stream.acknowledge import AckQueue
from stream.app import App, stop_spinner
from stream.batch_consumer import BatchConsumer, BatchTransport
from stream.batch_fetch import out_of_range
from stream.batch_topic import BatchMessage, BatchTopic
from stream.batches import (
    PINNED,
    TOUCH_POINTS,
    RecordBatch,
    batch_topic,
    faust_settings,
    micro_batches,
)
from stream.fetched_record import FetchedRecord


def make_app(bootstrap: str, group: str, **changes: Any) -> faust.App:
    return faust.App(group, broker=f"batch://{bootstrap}", **{**faust_settings(), **changes})


@asynccontextmanager
async def idle(app: faust.App) -> AsyncIterator[BatchConsumer]:
    """The consumer of an app that is never started."""
    consumer = app.consumer
    assert isinstance(consumer, BatchConsumer)
    try:
        yield consumer
    finally:
        consumer._thread.thread_loop.close()


def create_client(consumer: BatchConsumer) -> Any:
    assert isinstance(consumer.transport, BatchTransport)
    return consumer._thread._create_worker_consumer(consumer.transport)


async def test_the_scheme_takes_several_brokers() -> None:
    app = make_app("one:9092;batch://two:9093;three", "group")
    assert isinstance(app.transport, BatchTransport)
    addresses = driver.server_list(app.transport.url, app.transport.default_port)
    assert addresses == ["one:9092", "two:9093", "three:9092"]


class Client:
    """Takes the place of an aiokafka consumer and keeps what it was created with."""

    def __init__(self, **given: Any) -> None:
        self.given = given


async def test_credentials_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiokafka.AIOKafkaConsumer", Client)
    credentials = faust.SASLCredentials(
        username="u", password="p", ssl_context=ssl.create_default_context()
    )
    app = make_app("127.0.0.1:1", "group", broker_credentials=credentials)
    async with idle(app) as consumer:
        given = create_client(consumer).given
    assert (given["sasl_plain_username"], given["sasl_plain_password"]) == ("u", "p")
    assert given["security_protocol"] == "SASL_SSL"
    assert given["ssl_context"] is credentials.ssl_context
    assert given["auto_offset_reset"] == "none"


async def test_the_broker_url_sets_the_fetch_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiokafka.AIOKafkaConsumer", Client)
    async with idle(make_app("one:1?fetch_wait_ms=7;two:2", "group")) as consumer:
        client = create_client(consumer)
    assert client.given["bootstrap_servers"] == ["one:1", "two:2"]
    assert client._fetch_max_wait_ms == 7
    async with idle(make_app("one:1", "group")) as consumer:
        assert create_client(consumer)._fetch_max_wait_ms == 100
    async with idle(make_app("one:1?fetch_wait_ms=soon", "group")) as consumer:
        with pytest.raises(ImproperlyConfigured, match="milliseconds, not 'soon'"):
            create_client(consumer)


async def test_a_silent_offset_reset_is_refused() -> None:
    app = make_app("127.0.0.1:1", "group", consumer_auto_offset_reset="earliest")
    async with idle(app) as consumer:
        with pytest.raises(ImproperlyConfigured, match=r"\*\*faust_settings\(\)"):
            create_client(consumer)


async def test_ordinary_topics_are_refused() -> None:
    app = make_app("127.0.0.1:1", "group")
    app.topics.add(app.topic("ordinary"))
    async with idle(app) as consumer:
        with pytest.raises(ImproperlyConfigured, match="ordinary is an ordinary Faust topic"):
            await consumer.subscribe(["ordinary"])


async def test_micro_batches_refuses_another_broker_and_a_shared_partition() -> None:
    for app, message in (
        (faust.App("stock", broker="kafka://127.0.0.1:1"), "begins with batch://"),
        (make_app("127.0.0.1:1", "group"), "concurrency=1"),
    ):
        stream = app.stream(batch_topic(app, "events"), concurrency_index=1)
        with pytest.raises(ImproperlyConfigured, match=message):
            await anext(micro_batches(stream, 10))
        app.consumer._thread.thread_loop.close()  # type: ignore[attr-defined]


async def test_faust_cannot_acknowledge_by_itself() -> None:
    record = FetchedRecord("events", 0, 7, 0, 0, None, b"{}", None, -1, 2, ())
    batch = RecordBatch("events", 0, (record,))
    message = BatchMessage(batch, AckQueue().deliver(7, 8, 1), generation_id=1)
    with pytest.raises(ImproperlyConfigured, match="not taken through micro_batches"):
        message.acked = True  # what the accelerated iterator does
    message.incref()
    async with idle(make_app("127.0.0.1:1", "group")) as consumer:
        with pytest.raises(ImproperlyConfigured, match="not taken through micro_batches"):
            message.ack(consumer)


def test_an_empty_batch_size_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="at least 1, not 0"):
        batch_topic(make_app("127.0.0.1:1", "group"), "events", max_batch=0)


def test_a_clone_keeps_the_batch_size() -> None:
    topic = batch_topic(make_app("127.0.0.1:1", "group"), "events", max_batch=3)
    clone = topic.clone(is_iterator=True)
    assert isinstance(clone, BatchTopic)
    assert clone.max_batch == 3


def test_an_offset_that_was_deleted_is_told_with_the_loss() -> None:
    sentence = out_of_range("shop", TP("events", 3), at=70, first=100, end=250)
    assert "events[3]" in sentence
    assert "offset 70" in sentence
    assert "[100, 250): 30 records were deleted before this group had read them" in sentence
    assert "--group shop --topic events:3 --reset-offsets" in sentence


@pytest.mark.parametrize("package", PINNED)
def test_the_pinned_versions_are_the_installed_ones(package: str) -> None:
    """Before a pin moves: read the new source of every touch point, then run these tests."""
    assert importlib.metadata.version(package) == PINNED[package]
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert f"{package}=={PINNED[package]}" in project["project"]["dependencies"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [*TOUCH_POINTS, *round_trip.TOUCH_POINTS],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_private_member_we_lean_on_is_still_there(owner: type | ModuleType, name: str) -> None:
    kinds = owner.__mro__ if isinstance(owner, type) else ()
    assert hasattr(owner, name) or any(declares(kind, name) for kind in kinds)


def declares(kind: type, name: str) -> bool:
    """True where the class body annotates `name` or a method of its module assigns it."""
    if kind.__module__ in {"builtins", "typing", "abc"}:
        return False
    source = Path(inspect.getsourcefile(kind) or "").read_text()
    return re.search(rf"\bself\.{name}(: .*)? = |^    {name}: ", source, re.MULTILINE) is not None


def test_a_leader_who_knew_no_partitions_looks_again_within_seconds() -> None:
    """aiokafka has the group join anew when the partitions it assigned have changed."""
    app = make_app("127.0.0.1:1", "shop")
    assert app.conf.consumer_metadata_max_age_ms <= 5_000


def test_a_worker_that_logs_little_does_not_make_debug_messages_for_a_spinner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.ERROR))
    logging.root.addHandler(logging.NullHandler(logging.ERROR))
    app = make_app("127.0.0.1:1", "shop")
    worker = faust.Worker(app, loglevel="error", loop=app.loop)
    worker.on_setup_root_logger(logging.root, logging.ERROR)
    assert logging.root.level == logging.DEBUG, "or stop_spinner() is for nothing"
    stop_spinner()
    assert logging.root.level == logging.ERROR
    assert len(logging.root.handlers) == 1


async def test_a_broker_that_is_away_when_the_consumer_starts_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []

    async def start(thread: driver.AIOKafkaConsumerThread) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise KafkaConnectionError("nobody answers")
        fetcher = SimpleNamespace(_get_actions_per_node=None)
        thread._consumer = cast(AIOKafkaConsumer, SimpleNamespace(_fetcher=fetcher))

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", start)
    monkeypatch.setattr(batch_fetch, "ASK_AGAIN_S", 0)
    async with idle(make_app("127.0.0.1:1", "group")) as consumer:
        await consumer._thread.on_start()
    assert len(begun) == 3


def test_nothing_but_the_consumer_of_faust_is_started() -> None:
    """Its producer would end the worker where the broker is away in that moment."""
    strategy = App.BootStrategy(make_app("127.0.0.1:1", "group"))
    assert list(strategy.kafka_producer()) == []
    assert list(strategy.web_server()) == []
