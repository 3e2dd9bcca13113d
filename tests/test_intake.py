"""Records are decoded once, and bad ones set apart."""

import pytest

from model.events import Purchase, encode_event
from model.mapping import Mapping
from serving.intake import decode
from tests.parts import (
    NOW,
    FakeRecord,
    click,
    counted,
    forget,
    records_of,
    search,
)


def test_good_and_bad_records_are_told_apart_in_order() -> None:
    good = records_of([click("u", "a"), search("v", "b"), forget("w")])
    bad = [FakeRecord(b"\xff", 7), FakeRecord(None, 8), FakeRecord(b"[]", 9)]
    decoded, dead = decode([bad[0], good[0], bad[1], good[1], good[2], bad[2]], NOW)
    assert [each.record for each in decoded] == good
    assert [each.record for each in dead] == bad
    assert [each.error.reason for each in dead] == ["malformed_json", "null_value", "invalid"]
    assert decode([], NOW) == ([], [])


def test_each_kind_and_each_reason_is_counted() -> None:
    before = counted("events", kind="click"), counted("dead_letters", reason="future_time")
    decode(records_of([click("u", "a"), click("u", "b"), click("u", "c", NOW * 2)]), NOW)
    assert counted("events", kind="click") == before[0] + 2
    assert counted("dead_letters", reason="future_time") == before[1] + 1


@pytest.mark.parametrize(
    ("key", "odd"), [(b"u", 0), (None, 1), (b"", 1), (b"v", 1), ("用户".encode(), 1)]
)
def test_a_key_that_is_not_the_user_is_counted(key: bytes | None, odd: int) -> None:
    before = counted("key_mismatches")
    decoded, dead = decode([FakeRecord(encode_event(click("u", "a")), 0, key)], NOW)
    assert (len(decoded), len(dead)) == (1, 0)
    assert counted("key_mismatches") == before + odd


ORDER = (
    b'{"event": "Order Completed", "messageId": "m", "userId": "u", "timestamp": 1780000000000, '
    b'"properties": {"products": [{"sku": "a"}, {"sku": "b"}%s]}}'
)
SEGMENT = {"orders": Mapping.named("segment")}


def of_orders(value: bytes, offset: int = 0) -> FakeRecord:
    return FakeRecord(value, offset, b"u", "orders")


def test_a_topic_with_a_mapping_is_decoded_by_it_and_the_others_as_ever() -> None:
    order, ours = of_orders(ORDER % b""), records_of([click("u", "a")])[0]
    decoded, dead = decode([order, ours], NOW, SEGMENT)
    assert [each.record for each in decoded] == [order, order, ours]
    assert [each.part for each in decoded] == [0, 1, -1]
    assert decoded[1].event == Purchase(event_id="m:1", user_id="u", ts=NOW, item_id="b")
    assert not dead
    assert len(decode([order], NOW)[1]) == 1


def test_a_record_with_one_bad_event_is_a_dead_letter_as_a_whole() -> None:
    order = of_orders(ORDER % b', {"sku": "c", "quantity": 0}')
    decoded, dead = decode([order], NOW, SEGMENT)
    assert not decoded
    assert [(each.record, each.error.reason) for each in dead] == [(order, "invalid")]


def test_what_a_mapping_leaves_out_is_counted_and_no_dead_letter() -> None:
    before = counted("left_out", topic="orders")
    assert decode([of_orders(b'{"event": "Checkout Started"}')], NOW, SEGMENT) == ([], [])
    assert counted("left_out", topic="orders") == before + 1
