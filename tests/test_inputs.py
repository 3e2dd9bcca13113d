"""Workers read several topics, each as its producers write it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from stream.deadletter import REASON, TOPIC
from stream.kafka import kafka_python_arguments
from stream.replay.cutover import cutover
from stream.replay.generations import open_shadow, opened
from stream.replay.lag_gate import LagGate
from stream.replay.topic_offsets import TopicOffsets
from stream.settings import Settings, child_environment
from tests.backends import Broker
from tests.shop import Shop, running_shop, wait_until
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.either_backend

SEARCHES = """
others = "leave_out"

[[rules]]
when = { kind = "query" }
type = "search"

[rules.fields]
event_id = "id"
user_id = "person.id"
ts = { column = "seconds", time = "s" }
query = "words"
"""


@pytest.fixture
def settings(stream_settings: Settings, broker: Broker, tmp_path: Path) -> Settings:
    """Settings with two further topics, the second by a mapping of the shop's own."""
    broker.create_topics(dict.fromkeys(("clicks", "searches"), stream_settings.partitions))
    mapping = tmp_path / "searches.toml"
    mapping.write_text(SEARCHES)
    return stream_settings.model_copy(update={"inputs": f"clicks=segment,searches={mapping}"})


def test_a_worker_whose_mapping_is_wrong_ends_with_status_2(
    stream_settings: Settings, tmp_path: Path
) -> None:
    tiny_bundle(tmp_path / "bundle", ["i"])
    settings = stream_settings.model_copy(
        update={"inputs": "clicks=nothing", "bundle": tmp_path / "bundle"}
    )
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", "worker"],
        cwd=tmp_path,
        env=child_environment(settings) | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nextclick: there is no ready mapping 'nothing'; name one of")


def test_a_replay_watches_the_lag_on_all_of_them(broker: Broker, stream_settings: Settings) -> None:
    broker.create_topics({"late-events": 1, "late-clicks": 2})
    update = {"events_topic": "late-events", "inputs": "late-clicks=segment", "group": "late"}
    settings = stream_settings.model_copy(update=update)
    producer = KafkaProducer(**kafka_python_arguments(settings))
    for topic, partition in (("late-events", 0), ("late-clicks", 0), ("late-clicks", 1)):
        producer.send(topic, b"{}", partition=partition)
    producer.close()
    with TopicOffsets(settings) as offsets:
        gate = LagGate(settings, offsets, max_lag=10)
        gate.wait(1)
    assert gate.lag == 3


async def test_a_cutover_brings_in_what_all_of_them_hold(
    broker: Broker, stream_settings: Settings, tmp_path: Path, redis_url: str
) -> None:
    broker.create_topics({"old-events": 1, "old-clicks": 1})
    tiny_bundle(tmp_path / "bundle", ["tea"])
    settings = stream_settings.model_copy(
        update={
            "events_topic": "old-events",
            "inputs": "old-clicks=segment",
            "bundle": tmp_path / "bundle",
            "redis_url": redis_url,
        }
    )
    products = [{"sku": f"tea-{number}"} for number in range(25)]
    call = {
        "event": "Order Completed", "messageId": "m", "userId": "ana", "timestamp": "2026-01-05",
        "properties": {"products": products},
    }  # fmt: skip
    producer = KafkaProducer(**kafka_python_arguments(settings))
    producer.send("old-clicks", msgspec.json.encode(call), b"ana")
    producer.close()
    async with open_shadow(settings, settings.source_topics):
        pass
    flip = await cutover(settings)
    async with opened(settings) as (parts, _):
        profile = await parts.of_generation(flip.live).store.profile("ana")
        popular = await parts.of_generation(flip.live).counts.popular()
    assert len(profile.bought().items) == len(popular.items) == 25


def write(shop: Shop, topic: str, key: str, **told: Any) -> None:
    """Write a record as the shop's other systems do."""
    shop.send_bytes(msgspec.json.encode(told), key.encode(), topic=topic)
    shop.flush()


def test_lists_come_of_foreign_records(settings: Settings, tmp_path: Path) -> None:
    now = time.time()
    call = {"type": "track", "anonymousId": "ana", "timestamp": int(now * 1000)}
    with running_shop(settings, tmp_path) as shop:
        products = [{"product_id": f"tea-{number}", "quantity": 1} for number in range(25)]
        properties = {"order_id": "1", "products": products}
        write(
            shop, "clicks", "ana", **call, event="Order Completed", messageId="m-1",
            properties=properties,
        )  # fmt: skip
        made = shop.wait_for(
            lambda: next((each for each in shop.lists if each.user_id == "ana"), None), "a list"
        )
        assert (made.event_id, made.as_of.topic) == ("m-1:24", "clicks")

        write(shop, "searches", "ana", kind="advert", id="q-0")
        write(
            shop, "searches", "ana", kind="query", id="q-1", person={"id": "ana"}, seconds=now,
            words="chocolate bar",
        )  # fmt: skip
        made = shop.wait_for(
            lambda: next((each for each in shop.lists if each.event_id == "q-1"), None), "a search"
        )
        assert (made.query, made.as_of.topic) == ("chocolate bar", "searches")
        assert made.items[0].item_id.startswith("chocolate-")

        assert shop.list_for(shop.send_click("ana", "book-1")).as_of.topic == settings.events_topic

        write(shop, "searches", "ana", kind="query", id="q-2", seconds=now, words="tea")
        letter = shop.wait_for(lambda: next(iter(shop.dead_letters), None), "a dead letter")
        headers = dict(letter.headers)
        assert (headers[TOPIC], headers[REASON]) == (b"searches", b"invalid")
        assert msgspec.json.decode(letter.value)["id"] == "q-2"
        log, told = shop.workers[0].log, "became dead letters: searches 1 invalid; the last is"
        wait_until(lambda: told in log.read_text(), "the log tells of it")
