"""Workers come, go and are killed; every event is still covered by a list."""

import os
import signal
from collections.abc import Iterator

import pytest

from model.events import Click
from stream.settings import Settings
from tests.shop import Shop, running_shop

pytestmark = pytest.mark.either_backend

USERS = [f"user-{number}" for number in range(40)]
"""More than partitions: each worker has some of them."""


@pytest.fixture(scope="module")
def shop(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(stream_settings, tmp_path_factory.mktemp("shop"), workers=2) as running:
        yield running


def a_click_each(shop: Shop) -> list[Click]:
    return [shop.send_click(user, "tea-1") for user in USERS]


def wait_for_lists(shop: Shop, events: list[Click]) -> None:
    """Wait until each event is covered: by a list it caused, or by a newer one of its user."""

    def are_covered() -> bool | None:
        newest: dict[str, int] = {}
        for each in shop.lists:
            newest[each.user_id] = max(each.ts, newest.get(each.user_id, 0))
        return all(newest.get(event.user_id, 0) >= event.time for event in events) or None

    shop.wait_for(are_covered, "a list that covers each click")


def test_both_workers_share_the_work(shop: Shop) -> None:
    wait_for_lists(shop, a_click_each(shop))
    for worker in shop.workers:
        assert "Setting newly assigned partitions" in worker.log.read_text("utf-8", "replace")
    assert len({each.as_of.partition for each in shop.lists}) > 2


def test_a_worker_that_leaves_and_one_that_comes_lose_nothing(shop: Shop) -> None:
    leaving = shop.workers.pop(0)
    events = a_click_each(shop)
    assert leaving.stop() == 0
    shop.start_workers(1)
    wait_for_lists(shop, [*events, *a_click_each(shop)])


def test_a_worker_that_is_killed_loses_nothing(shop: Shop) -> None:
    killed = shop.workers.pop(0)
    events = a_click_each(shop)
    os.kill(killed.pid, signal.SIGKILL)
    events += a_click_each(shop)
    killed.stop()
    wait_for_lists(shop, events)
