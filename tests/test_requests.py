"""Which events get a list, and what is asked for."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from model.events import Cart, Event, Favorite, Impression, Rating
from model.ids import item_hash
from serving.intake import decode
from serving.list_request import ListRequest, RequestTable
from serving.parts import Parts
from serving.recommendation import AsOf
from serving.requests import REPLAY_HEADER, list_requests
from tests.parts import (
    HOUR_MS,
    NOW,
    FakeRecord,
    click,
    counted,
    forget,
    open_parts,
    purchase,
    records_of,
    search,
    take,
)


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as opened:
        yield opened


async def asked(parts: Parts, records: Sequence[FakeRecord]) -> Sequence[ListRequest]:
    """The lists that a micro-batch asks for."""
    learned = await take(parts, records)
    return list_requests(parts, decode(records, NOW)[0], learned)


async def test_a_request_says_who_when_and_why(parts: Parts) -> None:
    events: list[Event] = [purchase("u", "milk", NOW - 9), click("u", "bread", NOW - 5)]
    (request,) = await asked(parts, records_of(events, first=30))
    assert (request.user_id, request.event_id, request.time) == ("u", events[1].event_id, NOW - 5)
    assert request.as_of == AsOf("events", 0, 31)
    assert request.profile.history().items.tolist() == [item_hash("milk"), item_hash("bread")]
    assert request.profile.bought().items.tolist() == [item_hash("milk")]
    assert (request.query, request.current_item) == (None, "bread")


async def test_only_who_looks_at_an_item_has_a_current_one(parts: Parts) -> None:
    events: list[Event] = [
        click("a", "i"),
        Cart(event_id="e", user_id="b", ts=NOW, item_id="i"),
        Favorite(event_id="e", user_id="c", ts=NOW, item_id="i"),
        Rating(event_id="e", user_id="d", ts=NOW, item_id="i", value=5),
        purchase("e", "i"),
        search("f", "智能手机"),
    ]
    requests = await asked(parts, records_of(events))
    assert {request.user_id: request.current_item for request in requests} == {
        "a": "i", "b": "i", "c": None, "d": None, "e": None, "f": None,
    }  # fmt: skip
    assert requests[-1].query == "智能手机"


async def test_each_search_its_own_and_the_newest_of_the_others(parts: Parts) -> None:
    events: list[Event] = [
        search("u", "one"), click("u", "a"), click("v", "b"), search("u", "one"),
        purchase("u", "c"), search("v", "two"),
    ]  # fmt: skip
    requests = await asked(parts, records_of(events))
    assert [(each.user_id, each.query, each.as_of.offset) for each in requests] == [
        ("u", "one", 0), ("v", None, 2), ("u", "one", 3), ("u", None, 4), ("v", "two", 5),
    ]  # fmt: skip


async def test_a_search_is_answered_by_what_was_asked_up_to_it(parts: Parts) -> None:
    events: list[Event] = [
        search("u", "一", NOW - 9), search("u", "two", NOW - 8), click("u", "a", NOW - 7),
        search("u", "three", NOW - 6),
    ]  # fmt: skip
    requests = await asked(parts, records_of(events))
    found = {
        each.query: told
        for each, told in zip(requests, RequestTable(requests).searches(), strict=True)
    }
    assert {query: [*each.texts] for query, each in found.items()} == {
        "一": ["一"], "two": ["一", "two"], None: ["一", "two", "three"],
        "three": ["一", "two", "three"],
    }  # fmt: skip
    assert found["three"].times.tolist() == [NOW - 9, NOW - 8, NOW - 6]
    (nobody,) = await asked(parts, records_of([click("v", "a")], first=9))
    assert not len(RequestTable([nobody]).searches()[0].times)


async def test_what_is_no_deed_asks_for_nothing(parts: Parts) -> None:
    events: list[Event] = [
        Impression(event_id="i", user_id="u", ts=NOW, rec_id="r", item_ids=("a",)),
        forget("u"),
    ]
    assert not len(await asked(parts, records_of(events)))


async def test_replayed_and_old_events_ask_only_when_told_to(parts: Parts) -> None:
    replayed = records_of([search("u", "q")], headers=[("other", b""), (REPLAY_HEADER, b"1")])
    old = records_of([search("u", "q", NOW - HOUR_MS - 1)], first=1)
    on_time = records_of([search("u", "q", NOW - HOUR_MS)], first=2, headers=[("other", b"1")])
    before = {why: counted("events_without_list", why=why) for why in ("old", "replayed")}
    requests = await asked(parts, [*replayed, *old, *on_time])
    assert [each.as_of.offset for each in requests] == [2]
    for why, value in before.items():
        assert counted("events_without_list", why=why) == value + 1
    told = replace(parts, publish_replayed=True)
    assert len(await asked(told, [*replayed, *old, *on_time])) == 3


async def test_an_old_event_does_not_take_the_place_of_a_new_one(parts: Parts) -> None:
    events = [click("u", "a", NOW - 1), click("u", "b", NOW - 2 * HOUR_MS)]
    (request,) = await asked(parts, records_of(events))
    assert request.current_item == "a"


@pytest.mark.parametrize("told", [False, True])
async def test_what_was_forgotten_asks_for_nothing(parts: Parts, told: bool) -> None:
    parts = replace(parts, publish_replayed=told)
    events: list[Event] = [search("u", "a", NOW - 2), forget("u", NOW - 1), click("u", "b", NOW)]
    (request,) = await asked(parts, records_of(events))
    assert request.current_item == "b"
    assert request.profile.history().items.tolist() == [item_hash("b")]
    assert not len(await asked(parts, records_of([click("u", "late", NOW - 1)], first=3)))
