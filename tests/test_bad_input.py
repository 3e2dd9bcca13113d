"""What bad input gets on the running stream: a dead letter with a reason, and nothing stops."""

import json
import time
from collections.abc import Iterator

import pytest

from model.events import Click, encode_event
from stream.deadletter import OFFSET, REASON, TOPIC, read_dead_letter
from stream.settings import Settings
from tests.shop import Shop, running_shop

pytestmark = pytest.mark.either_backend


@pytest.fixture(scope="module")
def shop(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(stream_settings, tmp_path_factory.mktemp("bad")) as running:
        yield running


def body(**changes: object) -> bytes:
    good = {
        "type": "click",
        "event_id": "x",
        "user_id": "mal",
        "ts": int(time.time() * 1000),
        "item_id": "tea-1",
    }
    return json.dumps({**good, **changes}).encode()


BAD = {
    "truncated": (body()[:-5], "malformed_json"),
    "not UTF-8": (body().replace(b"tea-1", b"\xff\xfe"), "malformed_json"),
    "not an object": (b"[1, 2]", "invalid"),
    "empty": (b"", "malformed_json"),
    "no value": (None, "null_value"),
    "wrong type": (body(item_id=7), "invalid"),
    "missing field": (b'{"type":"click","event_id":"x","user_id":"u","ts":1}', "invalid"),
    "unknown kind": (body(type="teleport"), "invalid"),
    "negative time": (body(ts=-1), "time_range"),
    "far future": (body(ts=int(time.time() * 1000) + 10**11), "future_time"),
    "time as a boolean": (body(ts=True), "invalid"),
    "long item id": (body(item_id="i" * 257), "id_length"),
    "long user id in Chinese": (body(user_id="用" * 100), "id_length"),
    "empty user": (body(user_id=""), "invalid"),
    "long query": (body(type="search", query="q" * 10_000), "text_length"),
    "deeply nested": (b'{"type":' * 20_000, "malformed_json"),
    "two megabytes": (body(note="n" * 2_000_000), "too_large"),
}


def test_the_bad_get_a_reason_and_the_good_get_a_list(shop: Shop) -> None:
    good: list[Click] = []
    for number, (value, _) in enumerate(BAD.values()):
        event = Click(
            event_id=f"good-{number}",
            user_id="gil",
            ts=int(time.time() * 1000),
            item_id=f"tea-{number}",
        )
        good.append(event)
        # One key: good and bad share a partition, and every good one waits behind a bad one.
        shop.send_bytes(value, b"gil")
        shop.send_bytes(encode_event(event), b"gil")
    shop.flush()
    shop.list_for(good[-1])
    shop.wait_for(lambda: len(shop.dead_letters) >= len(BAD) or None, "all dead letters")

    assert len(shop.dead_letters) == len(BAD)
    by_offset = sorted(
        shop.dead_letters, key=lambda letter: int(read_dead_letter(letter.headers)[OFFSET])
    )
    for letter, (name, (value, reason)) in zip(by_offset, BAD.items(), strict=True):
        headers = read_dead_letter(letter.headers)
        assert headers[REASON] == reason, name
        assert headers[TOPIC] == shop.settings.events_topic
        assert letter.value == (value or b""), f"{name}: the original bytes"
        assert letter.key == b"gil"


ODD = {
    "unknown item": Click(event_id="o1", user_id="ida", ts=0, item_id="never-heard-of"),
    "unknown user": Click(event_id="o2", user_id="nobody-knows-me", ts=0, item_id="tea-1"),
    "Chinese": Click(event_id="o3", user_id="王小明", ts=0, item_id="phone-1"),
    "emoji": Click(event_id="o4", user_id="🛒🧡", ts=0, item_id="🍫"),
    "right to left": Click(event_id="o5", user_id="مستخدم", ts=0, item_id="book-1"),
    "longest id": Click(event_id="o6", user_id="u" * 256, ts=0, item_id="tea-2"),
}


@pytest.mark.parametrize("name", ODD)
def test_the_odd_are_served(shop: Shop, name: str) -> None:
    event = ODD[name]
    event.ts = int(time.time() * 1000)
    shop.send(event)
    found = shop.list_for(event)
    assert found.user_id == event.user_id
    assert len(found.items) == shop.settings.list_length


@pytest.mark.parametrize("key", [None, b"", b"somebody else", b"\xff\x00"])
def test_a_key_that_is_not_the_user_is_served(shop: Shop, key: bytes | None) -> None:
    event = Click(
        event_id=f"key-{key!r}", user_id="kim", ts=int(time.time() * 1000), item_id="tea-3"
    )
    shop.send_bytes(encode_event(event), key)
    shop.flush()
    assert shop.list_for(event).user_id == "kim"


def test_replayed_and_old_events_publish_no_list(shop: Shop) -> None:
    present = int(time.time() * 1000)
    replayed = Click(event_id="r1", user_id="rex", ts=present, item_id="tea-4")
    old = Click(event_id="r2", user_id="rex", ts=present - 7_200_000, item_id="tea-5")
    live = Click(event_id="r3", user_id="rex", ts=present, item_id="tea-6")
    shop.send_bytes(encode_event(replayed), b"rex", [("nextclick-replay", b"1")])
    shop.send_bytes(encode_event(old), b"rex")
    shop.flush()
    shop.send(live)
    shop.list_for(live)
    assert {each.event_id for each in shop.lists if each.user_id == "rex"} == {"r3"}
