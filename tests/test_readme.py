"""The story of the README happens; tests/test_pages.py has its commands."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer

from model.events import Click, encode_event
from model.items import Item
from serving.recommendation import Recommendation
from serving.requests import REPLAY_HEADER
from stream.settings import Settings
from tests.backends import Broker
from tests.shop import ITEMS, Shop, running_shop

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = README + (ROOT / "docs/replay.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(.*?)\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)
PRODUCTS = [
    Item(item_id="1082185", title="Bananas", category=("PRODUCE", "BANANAS")),
    Item(item_id="908531", title="Chocolate milk", category=("GROCERY", "CHOCOLATE MILK")),
    Item(item_id="981760", title="Eggs", category=("GROCERY", "EGGS")),
]


def program(name: str) -> str:
    (found,) = [body for block, body in BLOCKS if block == f"python {name}"]
    return str(found)


@pytest.fixture(scope="module")
def shop(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("readme")
    with running_shop(stream_settings, folder, items=[*ITEMS, *PRODUCTS]) as running:
        yield running


@pytest.mark.either_backend
def test_the_readers_three_events_change_the_list(shop: Shop) -> None:
    def lists() -> list[Recommendation]:
        found = {each.rec_id: each for each in shop.lists if each.user_id == "ana"}
        return sorted(found.values(), key=lambda each: each.ts)

    def from_list(number: int) -> list[Recommendation] | None:
        return lists()[number - 1 :] or None

    # The pause is for a list to come; on a busy machine that takes longer, and events that meet in
    # one micro-batch share a list.
    pause = "time.sleep(1)"
    assert program("producer").count(pause) == 1
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program("producer").replace(pause, "input()")],
        env={**os.environ, "KAFKA": shop.settings.brokers},
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        for number in range(1, 4):
            shop.wait_for(partial(from_list, number), f"list {number} for ana")
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0

    bananas, search, eggs = lists()
    assert search.query == "chocolate milk"
    assert search.items[0].item_id == "908531"
    assert bananas.items != eggs.items
    assert "1082185" in {item.item_id for item in eggs.items}, "seen together with the eggs"


@pytest.mark.either_backend
def test_the_readers_consumer_prints_lists(shop: Shop) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "ignore", "-c", program("consumer")],
        env={**os.environ, "KAFKA": shop.settings.brokers},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        numbers = iter(range(60))
        line = ""
        # The consumer starts at the end of the topic: send until it is there.
        while not line:
            shop.send_click("bert", f"tea-{next(numbers) % 20}")
            line = _line_within_a_second(process)
        process.kill()
        assert line.startswith("bert [(")


@pytest.mark.kafka
def test_the_readers_reader_prints_what_was_not_replayed(broker: Broker) -> None:
    topic = "events-of-the-reader"  # the shop above has the other one
    broker.create_topics({topic: 2})
    now = int(time.time() * 1000)
    with KafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        for user, stamp, headers in (
            ("old", now - 7_200_000, []),
            ("new", now - 5_000, []),
            ("replayed", now, [(REPLAY_HEADER, b"1")]),
        ):
            event = Click(event_id=user, user_id=user, ts=now, item_id="i")
            producer.send(
                topic, encode_event(event), user.encode(), headers,
                timestamp_ms=stamp,
            )  # fmt: skip
        producer.flush(30)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program("reader").replace('"events"', f'"{topic}"')],
        env={**os.environ, "KAFKA": broker.bootstrap},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "click new\n"


def _line_within_a_second(process: "subprocess.Popen[str]") -> str:
    import select

    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 1.0)
    return process.stdout.readline() if ready else ""
