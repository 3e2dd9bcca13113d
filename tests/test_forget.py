"""Erasing a user: what is there goes, older events stay out for good, newer ones come in."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from model.events import Click, ContractError, Search, decode_event
from serving.profile import Profile, pack_interaction, pack_query, profile_of
from serving.recommendation import Recommendation
from stream import cli
from stream.complaint import complaint
from stream.forget import SentForget, forget_event, send_forget, wait_until_done
from stream.offsets import OffsetReader
from stream.settings import Settings, settings_environment
from stream.worker import build_parts
from tests.backends import Broker
from tests.kafka_log import read
from tests.shop import Shop, running_shop, wait_until

DAY_MS = 86_400_000


def present() -> int:
    """This moment, epoch milliseconds."""
    return time.time_ns() // 1_000_000


# The event


def test_the_event_is_of_this_moment_and_of_its_own_id() -> None:
    before = present()
    one, two = forget_event("用户"), forget_event("用户")
    assert one.event_id != two.event_id
    assert one.user_id == "用户"
    assert before <= one.time <= two.time <= present()


@pytest.mark.parametrize(
    "at", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "1769860800000"]
)
def test_a_time_may_be_given(at: str) -> None:
    assert forget_event("u", at).time == 1_769_860_800_000


@pytest.mark.parametrize(
    ("user", "at", "reason"),
    [
        ("", None, "invalid"),
        ("u" * 257, None, "id_length"),
        ("\udcff", None, "malformed_json"),
        ("u", "2026-01-31T12:00:00", "invalid"),
        ("u", "yesterday", "invalid"),
        ("u", "-5", "time_range"),
        ("u", "99999999999999", "future_time"),
    ],
)
def test_what_workers_would_refuse_is_not_sent(user: str, at: str | None, reason: str) -> None:
    with pytest.raises(ContractError) as caught:
        forget_event(user, at)
    assert caught.value.reason == reason
    assert complaint(caught.value)


# Sending


@pytest.fixture
def idle(stream_settings: Settings, broker: Broker) -> Settings:
    """Settings of an events topic that no worker reads."""
    broker.create_topics({"idle": 3})
    return stream_settings.model_copy(update={"events_topic": "idle", "group": "idlers"})


@pytest.mark.either_backend
async def test_the_event_is_sent_keyed_and_nobody_has_come_to_it(idle: Settings) -> None:
    event = forget_event("fay")
    sent = await send_forget(idle, event)
    (record,) = (await read(idle.brokers, "idle"))[sent.partition]
    assert sent == SentForget(event.event_id, event.time, "idle", sent.partition, record.offset)
    assert record.key == b"fay"
    assert decode_event(record.value, present()) == event
    behind: list[int] = []
    assert not await wait_until_done(idle, sent, progress=behind.append, stall_s=0.5)
    assert set(behind) == {1}


# The page that the command points to


def test_what_the_privacy_page_names_exists() -> None:
    page = (Path(__file__).parent.parent / "docs" / "privacy.md").read_text()
    variables = set(re.findall(r"NEXTCLICK_[A-Z_]+", page))
    assert "NEXTCLICK_USER_HASH_SECRET" in variables
    assert variables <= {f"NEXTCLICK_{name.upper()}" for name in Settings.model_fields}
    defaults = Settings()
    for topic in (defaults.events_topic, defaults.dlq_topic, defaults.recommendations_topic):
        assert f"topic `{topic}`" in page
    group: Any = typer.main.get_command(cli.app)
    for verb in re.findall(r"nextclick ((?:dlq )?[a-z]+)", page):
        command = group
        for name in verb.split():
            command = command.commands[name]
    assert {"--at", "--wait"} <= {
        option for parameter in group.commands["forget"].params for option in parameter.opts
    }


# With a worker


@pytest.fixture(scope="module")
def shop(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(stream_settings, tmp_path_factory.mktemp("forget")) as running:
        yield running


async def stored(settings: Settings, user_id: str) -> tuple[Profile, Recommendation | None]:
    """What Redis holds of a user, read as a worker reads it."""
    store = build_parts(settings).store
    try:
        return await store.profile(user_id), await store.last_list(user_id)
    finally:
        await store.redis.aclose()


def wait_until_served(settings: Settings) -> None:
    """Return once the group has committed everything in the events topic."""

    async def is_served() -> bool:
        async with OffsetReader(settings) as offsets:
            places = await offsets.partitions(settings.events_topic)
            committed = await offsets.committed(settings.group, places)
            ends = await offsets.ends(places)
        return all(committed.get(place, 0) == ends[place] for place in places)

    wait_until(lambda: asyncio.run(is_served()), "all events are committed")


def nextclick(settings: Settings, *arguments: str) -> dict[str, object]:
    """What ``nextclick forget ... --json`` says."""
    environment = settings_environment(settings) | {"NEXTCLICK_CONFIG": ""}
    done = CliRunner().invoke(cli.app, ["forget", *arguments, "--json"], env=environment)
    assert done.exit_code == 0, done.output
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.mark.either_backend
def test_a_forgotten_user_stays_forgotten(shop: Shop) -> None:
    started = present()
    search = Search(event_id="s", user_id="flo", ts=started - 2_000, query="tea")
    history = [
        Click(event_id=f"h{n}", user_id="flo", ts=started - 5_000 + n, item_id=f"tea-{n}")
        for n in range(5)
    ]
    shop.send(*history, search)
    shop.list_for(search)
    wait_until_served(shop.settings)
    profile, last = asyncio.run(stored(shop.settings, "flo"))
    assert profile == profile_of([pack_interaction(each) for each in history], [pack_query(search)])
    assert last is not None

    told = nextclick(shop.settings, "flo", "--wait")
    assert told["done"] is True
    assert asyncio.run(stored(shop.settings, "flo")) == (Profile(), None)

    # The same ones again, and some that are older and were never seen.
    unseen = [
        Click(event_id=f"u{n}", user_id="flo", ts=started - n * DAY_MS, item_id=f"book-{n}")
        for n in range(4)
    ]
    shop.send(*history, search, *unseen)
    wait_until_served(shop.settings)
    assert asyncio.run(stored(shop.settings, "flo")) == (Profile(), None)

    newer = shop.send_click("flo", "phone-7")
    assert newer.time > int(str(told["ts"]))
    assert shop.list_for(newer).items
    shop.send(*history)
    wait_until_served(shop.settings)
    profile, last = asyncio.run(stored(shop.settings, "flo"))
    assert profile == profile_of([pack_interaction(newer)], [])
    assert last is not None


@pytest.mark.either_backend
def test_events_after_the_given_time_stay(shop: Shop) -> None:
    started = present()
    early = Click(event_id="e", user_id="fin", ts=started - 9_000, item_id="tea-1")
    late = Click(event_id="l", user_id="fin", ts=started - 1_000, item_id="tea-2")
    shop.send(early, late)
    assert nextclick(shop.settings, "fin", "--at", str(started - 5_000), "--wait")["done"] is True
    profile, _ = asyncio.run(stored(shop.settings, "fin"))
    assert profile == profile_of([pack_interaction(late)], [])


@pytest.mark.either_backend
def test_others_keep_what_is_theirs(shop: Shop) -> None:
    kept = shop.send_click("fred", "tea-1")
    shop.list_for(kept)
    nextclick(shop.settings, "frieda", "--wait")
    profile, last = asyncio.run(stored(shop.settings, "fred"))
    assert profile == profile_of([pack_interaction(kept)], [])
    assert last is not None
