"""The README's story: a person sends three events and watches the list change."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.events import Click, Purchase, Search
from model.items import Item
from serving.recommendation import Recommendation
from stream.settings import Settings
from tests.command_line import ended
from tests.shop import ITEMS, Shop, running_shop, wait_until

pytestmark = pytest.mark.either_backend


@pytest.fixture(scope="module")
def shop(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(stream_settings, tmp_path_factory.mktemp("shop"), workers=2) as running:
        yield running


def now() -> int:
    return int(time.time() * 1000)


def ids(found: Recommendation) -> list[str]:
    return [item.item_id for item in found.items]


def test_three_events_change_the_list(shop: Shop) -> None:
    first = Click(event_id="a1", user_id="ana", ts=now(), item_id="chocolate-1")
    shop.send(first)
    after_click = shop.list_for(first)

    search = Search(event_id="a2", user_id="ana", ts=now(), query="智能手机")
    shop.send(search)
    after_search = shop.list_for(search)

    second = Click(event_id="a3", user_id="ana", ts=now(), item_id="phone-3")
    shop.send(second)
    after_second_click = shop.list_for(second)

    assert all(each.startswith("phone-") for each in ids(after_search))
    assert {item.reason for item in after_search.items} == {"matches your search “智能手机”"}
    assert ids(after_click) != ids(after_second_click)
    assert "chocolate-1" in ids(after_second_click), "seen together with phone-3 by now"
    together = next(i for i in after_second_click.items if i.item_id == "chocolate-1")
    assert "together" in together.sources
    assert together.because == "phone-3"


def test_a_list_explains_itself(shop: Shop) -> None:
    event = Purchase(event_id="b1", user_id="bo", ts=now(), item_id="tea-7")
    shop.send(event)
    found = shop.list_for(event)
    assert found.user_id == "bo"
    assert found.ts == event.ts
    assert found.as_of.topic == shop.settings.events_topic
    assert len(found.items) == shop.settings.list_length
    assert [item.rank for item in found.items] == list(range(1, len(found.items) + 1))
    assert all(item.sources and item.reason for item in found.items)
    assert set(found.step_ms) == {"decode", "profiles", "candidates", "rank"} | {"rerank"}


def test_a_purchase_may_come_back_and_says_so(shop: Shop) -> None:
    event = Purchase(event_id="c1", user_id="cy", ts=now(), item_id="book-4")
    shop.send(event)
    found = shop.list_for(event)
    again = next(item for item in found.items if item.item_id == "book-4")
    assert again.sources[0] == "repeat"


def test_a_removed_item_is_gone_and_a_new_one_counts(shop: Shop) -> None:
    ask = Search(event_id="d1", user_id="di", ts=now(), query="chocolate bar 2")
    shop.send(ask)
    assert "chocolate-2" in ids(shop.list_for(ask))

    shop.remove_item("chocolate-2")
    shop.publish_catalog([Item(item_id="halva-1", title="halva with pistachios")])

    def later_list(attempt: int, query: str) -> list[str]:
        event = Search(event_id=f"d-{query}-{attempt}", user_id="di", ts=now(), query=query)
        shop.send(event)
        return ids(shop.list_for(event))

    number = itertools.count()
    wait_until(
        lambda: "chocolate-2" not in later_list(next(number), "chocolate bar 2"), "it is gone"
    )
    wait_until(lambda: "halva-1" in later_list(next(number), "halva"), "the new one is found")
    assert "chocolate-2" not in later_list(next(number), "chocolate bar 2")
    shop.publish_catalog([item for item in ITEMS if item.item_id == "chocolate-2"])


def test_the_command_shows_the_live_list(shop: Shop, tmp_path: Path) -> None:
    from serving.recommendation import decode_recommendation

    event = Click(event_id="e1", user_id="eli", ts=now(), item_id="tea-3")
    shop.send(event)
    shop.list_for(event)
    run = ended(shop.settings, "recommend", "eli", "--json")
    assert run.returncode == 0, run.stderr
    assert len(decode_recommendation(run.stdout.encode()).items) == shop.settings.list_length
