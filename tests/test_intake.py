"""Records are decoded once, bad ones set apart, and each user's profile learns the rest."""

from collections.abc import AsyncIterator, Sequence

import pytest

from model.events import (
    Cart,
    Event,
    Favorite,
    Identify,
    Impression,
    Rating,
    User,
    encode_event,
)
from model.items import Item
from serving.intake import decode, learn, profile_changes
from serving.parts import Parts
from serving.profile import pack_interaction, pack_query
from serving.store import origin
from tests.parts import (
    NOW,
    FakeRecord,
    click,
    counted,
    forget,
    open_parts,
    purchase,
    records_of,
    search,
)
from tests.test_profile import of


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, [Item(item_id="known")]) as opened:
        yield opened


async def take(parts: Parts, events: Sequence[Event], first: int = 0) -> None:
    """Learn a micro-batch of these events."""
    decoded, _ = decode(records_of(events, first=first), NOW)
    await learn(parts, profile_changes(decoded))


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


def test_changes_are_gathered_by_user_in_order_of_arrival() -> None:
    cart = Cart(event_id="c", user_id="u", ts=NOW - 3, item_id="a")
    rating = Rating(event_id="r", user_id="v", ts=NOW, item_id="b", value=4)
    favorite = Favorite(event_id="f", user_id="u", ts=NOW - 9, item_id="b")
    query = search("u", "智能手机")
    decoded, _ = decode(records_of([cart, rating, query, favorite], first=40), NOW)
    changes = profile_changes(decoded)
    assert list(changes) == ["u", "v"]
    update = changes["u"].update
    assert update.interactions == [pack_interaction(cart), pack_interaction(favorite)]
    assert update.origins == [origin("events", 0, 40), origin("events", 0, 43)]
    assert update.queries == [pack_query(query)]
    assert update.forget_at is None
    assert changes["u"].item_ids == ["a", "b"]
    assert [each.event for each in changes["v"].interactions] == [rating]


def test_the_newest_of_several_forget_events_counts() -> None:
    events = [forget("u", NOW - 5), forget("u", NOW - 1), forget("u", NOW - 3), forget("v", 0)]
    changes = profile_changes(decode(records_of(events), NOW)[0])
    assert changes["u"].update.forget_at == NOW - 1
    assert changes["v"].update.forget_at == 0


def test_what_is_no_deed_changes_no_profile() -> None:
    events: list[Event] = [
        Impression(event_id="i", user_id="u", ts=NOW, rec_id="r", item_ids=("a",)),
        User(event_id="a", user_id="u", ts=NOW, attributes={"age": "30-39"}),
        Identify(event_id="d", user_id="u", ts=NOW, anonymous_id="anonymous"),
    ]
    assert profile_changes(decode(records_of(events), NOW)[0]) == {}


async def test_profiles_hold_what_was_learned(parts: Parts) -> None:
    bought, clicked, asked = purchase("u", "known"), click("u", "x"), search("v", "q")
    await take(parts, [bought, clicked, asked])
    assert await parts.store.profile("u") == of([bought, clicked])
    assert await parts.store.profile("v") == of([asked])


async def test_unknown_items_and_new_users_are_counted(parts: Parts) -> None:
    names = ("unknown_items", "new_users", "known_interactions")
    events: list[Event] = [click("u", "known"), click("u", "x"), search("v", "q"), forget("w")]

    async def change(batch: Sequence[Event], first: int) -> list[float]:
        before = [counted(name) for name in names]
        await take(parts, batch, first)
        return [counted(name) - value for name, value in zip(names, before, strict=True)]

    assert await change(events, 0) == [1, 2, 0]
    assert await change(events, 0) == [1, 0, 0], "the same records, run again"
    assert await change(events, 10) == [1, 0, 2], "copies that the producer sent"


async def test_nothing_to_learn_is_no_trip(parts: Parts) -> None:
    await parts.store.redis.aclose()
    await learn(parts, {})
