"""Workers read several topics, each as its producers write it."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.deadletter import REASON, TOPIC
from stream.settings import Settings
from tests.backends import Broker
from tests.shop import Shop, running_shop

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
