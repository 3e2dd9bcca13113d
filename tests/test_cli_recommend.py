"""``nextclick recommend`` on a real broker and a real Redis, and what it says where one is away."""

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from model.events import Event
from model.items import Item
from serving.parts import wall_clock_ms
from serving.recommend import recommend
from serving.recommendation import Recommendation, decode_recommendation
from stream import cli
from stream.cli_recommend import LOSSES_SHOWN
from stream.complaint import complaint
from stream.ingest import ingest
from stream.settings import Settings, settings_environment
from stream.worker import build_parts
from tests.parts import click, purchase, records_of, search
from tests.shop import ITEMS
from tests.tiny import tiny_bundle

ODD = Item(item_id="odd", title="[red]\x1b[2J{x}[/blue] tea 9", category=("[bold]", "\x07bell"))
_offsets = count()


@pytest.fixture(scope="module")
def shop(stream_settings: Settings) -> Iterator[Settings]:
    """Settings of a stream with a catalogue, and with profiles of ann, who buys tea, and others."""
    settings = stream_settings.model_copy(update={"max_event_age_s": 10**9})
    tiny_bundle(settings.bundle, [item.item_id for item in ITEMS])
    asyncio.run(ingest(settings, iter([*ITEMS, ODD])))
    events: list[Event] = [
        purchase("ann", "tea-1"),
        *(click("ann", f"phone-{at}") for at in range(LOSSES_SHOWN + 2)),
        *(click("u[/red]", f"phone-{at}") for at in range(3)),
        click("u[/red]", "odd"),
    ]
    asyncio.run(serve(settings, *events))
    yield settings


async def serve(settings: Settings, *events: Event) -> list[Recommendation]:
    """What a worker makes of these events."""
    parts = build_parts(settings)
    for item in (*ITEMS, ODD):
        parts.catalog.put(item)
    meaning = parts.catalog.search_index.meaning
    assert meaning is not None
    await meaning.encode_pending()
    try:
        await parts.store.open()
        await parts.candidates.refresh_popular()
        return (await recommend(parts, records_of(events, first=next(_offsets) * 100))).lists
    finally:
        await parts.store.redis.aclose()


def nextclick(settings: Settings, *arguments: str, **changes: str) -> Result:
    """``nextclick recommend ...``."""
    environment = settings_environment(settings) | {"NEXTCLICK_CONFIG": "", "COLUMNS": "200"}
    return CliRunner().invoke(cli.app, ["recommend", *arguments], env=environment | changes)


def shown(settings: Settings, *arguments: str, **changes: str) -> str:
    """What it prints."""
    done = nextclick(settings, *arguments, **changes)
    assert done.exit_code == 0, done.output
    return done.stdout


def explained(settings: Settings, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(shown(settings, *arguments, "--explain", "--json"))
    return told


def test_a_person_sees_the_list_with_its_reasons(shop: Settings) -> None:
    text = shown(shop, "ann")
    made = decode_recommendation(shown(shop, "ann", "--json").encode())
    assert made.user_id == "ann"
    assert len(made.items) == shop.list_length
    assert "for ann" in text
    for item in made.items:
        (line,) = [each for each in text.splitlines() if f" {item.item_id} " in each]
        assert item.reason in line
        assert ", ".join(item.sources) in line
        assert f"{item.score:.3f}" in line


@pytest.mark.parametrize("query", ["智能手机", "green tea", "كتاب", "nobody sells this"])
def test_a_query_shows_the_list_that_a_search_gets(shop: Settings, query: str) -> None:
    made = decode_recommendation(shown(shop, "bea", "--query", query, "--json").encode())
    (served,) = asyncio.run(serve(shop, search("bea", query, wall_clock_ms())))
    assert made.query == query
    assert [each.item_id for each in made.items] == [each.item_id for each in served.items]
    assert f"who searches for “{query}”" in shown(shop, "bea", "--query", query)


def test_an_explanation_shows_parts_contributions_and_steps(shop: Settings) -> None:
    text = shown(shop, "ann", "--query", "智能手机", "--explain")
    told = explained(shop, "ann", "--query", "智能手机")
    for name in ("network", "repeat", "together", "popular", "match", "lost without"):
        assert name in text
    for step in (*told["list"]["step_ms"], *told["opened_ms"]):
        assert step in text
    assert {"profiles", "candidates", "rank", "rerank"} == told["list"]["step_ms"].keys()
    assert {"bundle", "redis", "catalogue", "texts", "popular items"} == told["opened_ms"].keys()
    for item in told["items"]:
        for loss in item["losses"]:
            assert loss["title"]
            assert loss["amount"]
    assert "searches 1)" in text
    assert "and 3 more" in text, "of eight items five are shown"


def test_parts_in_the_json_add_up_to_the_score(shop: Settings) -> None:
    told = explained(shop, "ann")
    assert told["is_known"]
    assert len(told["items"]) == shop.list_length
    for listed, item in zip(told["list"]["items"], told["items"], strict=True):
        assert sum(item["parts"].values()) == pytest.approx(listed["score"], abs=4e-4)


def test_reasons_in_chinese(shop: Settings) -> None:
    made = decode_recommendation(
        shown(shop, "ann", "--query", "智能手机", "--language", "zh", "--json").encode()
    )
    assert made.items[0].reason == "符合您的搜索“智能手机”"
    assert "符合您的搜索“智能手机”" in shown(shop, "ann", "--query", "智能手机", "--language", "zh")
    both = decode_recommendation(shown(shop, "ann", "--language", "zh,en", "--json").encode())
    for item in both.items:
        assert item.reasons is not None
        assert item.reasons["zh"] == item.reason != item.reasons["en"]


@pytest.mark.parametrize("more", [[], ["--json"], ["--explain"], ["--explain", "--json"]])
def test_of_somebody_unknown_it_says_so_and_shows_what_somebody_new_gets(
    shop: Settings, more: list[str]
) -> None:
    done = nextclick(shop, "zoë", *more)
    assert done.exit_code == 0, done.output
    assert "nothing is known of zoë: this is what somebody new gets" in done.stderr
    assert "zoë" in done.stdout
    assert "nothing is known" not in nextclick(shop, "ann", *more).stderr
    if "--explain" in more and "--json" in more:
        assert json.loads(done.stdout)["is_known"] is False


def test_what_users_and_catalogues_write_is_shown_and_not_obeyed(shop: Settings) -> None:
    text = shown(shop, "u[/red]", "--query", "tea [red] 9", "--explain")
    assert "for u[/red], who searches for “tea [red] 9”" in text
    assert "[red]\N{REPLACEMENT CHARACTER}[2J{x}[/blue] tea 9" in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text


def test_looking_publishes_nothing_and_is_no_event(shop: Settings) -> None:
    first = decode_recommendation(shown(shop, "yan", "--query", "tea", "--json").encode())
    again = nextclick(shop, "yan", "--query", "tea", "--json")
    assert "nothing is known of yan" in again.stderr, "the query before was no search"
    items = decode_recommendation(again.stdout.encode()).items
    assert [each.item_id for each in items] == [each.item_id for each in first.items]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ann", "--query", ""], "min_length|length >= 1"),
        (["ann", "--query", "x" * 513], "`query` has 513 characters; at most 512"),
        (["u" * 257], "`user_id` has 257 bytes; at most 256"),
        (["ann", "--language", "fr"], "`reason_languages` is 'fr'"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(
    shop: Settings, arguments: list[str], said: str
) -> None:
    error = nextclick(shop, *arguments).exception
    assert error is not None
    sentence = complaint(error)
    assert sentence is not None
    assert any(each in sentence for each in said.split("|"))
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("NEXTCLICK_BROKERS", "127.0.0.1:1", "no Kafka broker answers (127.0.0.1:1"),
        ("NEXTCLICK_REDIS_URL", "redis://127.0.0.1:1", "Redis does not answer as it should"),
        ("NEXTCLICK_CATALOG_TOPIC", "nowhere", "nowhere"),
        ("NEXTCLICK_BUNDLE", "/nonexistent", "nextclick train"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--explain"]])
def test_a_part_that_is_away_is_named(
    shop: Settings, setting: str, value: str, said: str, more: list[str]
) -> None:
    error = nextclick(shop, "ann", *more, **{setting: value}).exception
    assert error is not None
    sentence = complaint(error)
    assert sentence is not None
    assert said in sentence
    assert "\n" not in sentence
