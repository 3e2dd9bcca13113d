"""Records are decoded once, and bad ones set apart."""

import pytest

from model.events import (
    encode_event,
)
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
