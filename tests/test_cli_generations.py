"""The verbs for generations, as a person types them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.generations import GenerationError
from stream import cli
from stream.replay.generations import opened
from stream.settings import Settings
from tests.parts import NOW, click, records_of, take
from tests.shop import ITEMS
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.either_backend


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generations") / "bundle"
    tiny_bundle(path, [each.item_id for each in ITEMS])
    return path


@pytest.fixture
def settings(
    stream_settings: Settings, bundle: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Of an empty Redis, in the environment."""
    found = stream_settings.model_copy(update={"bundle": bundle, "redis_prefix": "nc"})
    for name in ("brokers", "embedded", "redis_url", "bundle", "provider"):
        monkeypatch.setenv(f"NEXTCLICK_{name.upper()}", str(getattr(found, name)))
    yield found


def ran(*arguments: str, status: int = 0, answer: str = "") -> str:
    done = CliRunner().invoke(cli.app, ["replay", *arguments], input=answer)
    assert done.exit_code == status, (done.output, done.exception)
    return done.stdout


def told(*arguments: str, status: int = 0) -> Any:
    return json.loads(ran(*arguments, "--json", status=status))


def refused(*arguments: str) -> str:
    """The sentence of a refusal."""
    done = CliRunner().invoke(cli.app, ["replay", *arguments])
    assert isinstance(done.exception, GenerationError), (done.output, done.exception)
    return str(done.exception)


def learn_shadow(settings: Settings, *items: str) -> None:
    """Two clicks of ann live, and these in a shadow."""

    async def both() -> None:
        async with opened(settings) as (parts, generations):
            shadow = parts.for_past(await generations.begin())
            log = [click("ann", "tea-1", NOW - 9), click("ann", "tea-2", NOW)]
            for each in (parts, shadow):
                object.__setattr__(each, "now_ms", lambda: NOW)
            await take(parts, records_of(log))
            await take(shadow, records_of([one for one in log if one.item_id in items]))

    asyncio.run(both())


def test_status_tells_of_a_fresh_installation(settings: Settings) -> None:
    found = told("status")
    assert (found["live"], found["building"], found["made"]) == (0, None, [0])
    assert "generation 0 (live): 0 users" in ran("status")


def test_compare_wants_another_generation(settings: Settings) -> None:
    done = CliRunner().invoke(cli.app, ["replay", "compare"])
    assert "there is no other one to compare it with" in str(done.exception)


def test_compare_tells_what_differs_and_exits_with_1(settings: Settings) -> None:
    learn_shadow(settings, "tea-1")
    found = told("compare", status=1)
    assert (found["profiles_equal"], found["profiles_different"]) == (0, 1)
    assert found["profiles"][0]["kind"] == "click"
    assert "first difference, only in 0: click of item" in ran("compare", status=1)
    one = told("compare", "--user", "ann", status=1)
    assert one["difference"]["is_in_first"]


def test_compare_of_equals_exits_with_0(settings: Settings) -> None:
    learn_shadow(settings, "tea-1", "tea-2")
    assert told("compare")["profiles_equal"] == 1
    assert "ann: equal" in ran("compare", "--user", "ann")


def test_a_dry_run_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    learn_shadow(settings, "tea-1", "tea-2")
    topics = ["events", "clicks"]
    monkeypatch.setenv("NEXTCLICK_INPUTS", "clicks=segment")
    assert told("cutover", "--dry-run") == {"live": 0, "would_be_live": 1, "topics": topics}
    assert "of generation 1 in `events`, `clicks`, forget again" in ran("cutover", "--dry-run")
    assert told("rollback", "--dry-run") == {"live": 0, "would_be_live": None, "topics": topics}
    dropped = told("drop", "1", "--dry-run")
    assert (dropped["would_drop"], dropped["profiles"]) == (1, 1)
    assert dropped["counts"] > 2
    assert told("status")["made"] == [0, 1]


def test_there_and_back_and_the_rest_dropped(settings: Settings) -> None:
    learn_shadow(settings, "tea-1", "tea-2")
    assert told("cutover")["live"] == 1
    assert told("status")["live"] == 1
    assert told("rollback")["live"] == 0
    dropped = told("drop", "1", "--yes")
    assert dropped["profiles"] == 1
    assert dropped["counts"] > 2
    found = told("status")
    assert (found["live"], found["previous"], found["made"]) == (0, None, [0])
    assert found["generations"][0]["users"] == 1


def test_drop_asks_first(settings: Settings) -> None:
    learn_shadow(settings, "tea-1")
    ran("drop", "1", answer="n\n", status=1)
    assert told("status")["made"] == [0, 1]


@pytest.mark.parametrize("how", ["--yes", "--dry-run"])
def test_what_is_live_or_unknown_is_not_dropped(settings: Settings, how: str) -> None:
    assert "generation 0 is live" in refused("drop", "0", how)
    assert "there is no generation 9; there are these: 0" in refused("drop", "9", how)


def test_a_drop_that_broke_off_goes_on(settings: Settings) -> None:
    learn_shadow(settings, "tea-1")

    async def begin() -> None:
        async with opened(settings) as (_, generations):
            await generations.remove(1)

    asyncio.run(begin())
    assert told("drop", "1", "--dry-run")["profiles"] == 1
    assert told("drop", "1", "--yes")["profiles"] == 1
    assert "there is no generation 1" in refused("drop", "1", "--yes")


def test_compare_refuses_what_it_cannot_compare(settings: Settings) -> None:
    learn_shadow(settings, "tea-1")
    assert "there is no generation 9; there are these: 0, 1" in refused("compare", "--with", "9")
    assert "generation 0 is the live one" in refused("compare", "--with", "0")
    neither = "neither generation 0 nor generation 1 has a profile of 'nobody'"
    assert neither in refused("compare", "--user", "nobody")
