"""Dead letters sent back: exactly as they came, once unless asked again, past no group."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from model.events import Click, encode_event
from stream.deadletter import NULL_VALUE, REASON, REDRIVEN, TRUNCATED, Place
from stream.dlq import DeadLetterError, find_dead_letter, list_dead_letters
from stream.redrive import RedriveReport, redrive
from stream.settings import Settings
from tests.backends import Broker
from tests.dead_letters import (
    ODD_BYTES,
    WORKERS,
    Headers,
    Letter,
    nextclick,
    sent_events,
    with_own_topics,
    write,
)
from tests.kafka_log import commit, committed, ends, read
from tests.shop import running_shop

pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(stream_settings: Settings, broker: Broker) -> Settings:
    return with_own_topics(stream_settings, broker)


# Sending back


def test_records_go_back_exactly_as_they_came(settings: Settings) -> None:
    trace: Headers = [("nextclick-replay", b"1"), ("trace", b"\xff"), ("trace", b"")]
    originals = [
        Letter(ODD_BYTES, key=ODD_BYTES, headers=trace),
        Letter(None, "null_value", key=None),
        Letter(b"", "malformed_json", key=b"", partition=1),
        Letter(b"x" * 900_000, "too_large", partition=2),
    ]
    places = write(settings, *originals)
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=4)
    expected = [
        (letter.key, letter.value, [*letter.headers, _names(settings, place)])
        for letter, place in zip(originals, places, strict=True)
    ]
    assert sorted(sent_events(settings), key=str) == sorted(expected, key=str)


def _names(settings: Settings, place: Place) -> tuple[str, bytes]:
    return REDRIVEN, f"{settings.dlq_topic}:{place}".encode()


def test_records_go_back_to_the_topic_and_partition_that_they_came_from(
    settings: Settings, broker: Broker
) -> None:
    broker.create_topics({"clicks": 9})
    foreign = settings.model_copy(update={"inputs": "clicks=segment"})
    write(settings, Letter(b"{}", key=b"mal", topic="clicks"), Letter(b"x", topic="elsewhere"))
    assert asyncio.run(redrive(foreign)) == RedriveReport(sent=1, elsewhere=1)
    found = asyncio.run(read(settings.brokers, "clicks"))
    assert [(at, record.value) for at, records in found.items() for record in records] == [
        (7, b"{}")
    ]
    assert sent_events(settings) == []


def test_headers_that_pose_as_ours_are_not_believed(settings: Settings) -> None:
    forged: Headers = [
        (REASON, b"fine"),
        (NULL_VALUE, b"1"),
        (TRUNCATED, b"9"),
        (REDRIVEN, b"earlier:0:0"),
    ]
    (place,) = write(settings, Letter(b"value", headers=forged))
    assert asyncio.run(find_dead_letter(settings, place)).reason == "invalid"
    asyncio.run(redrive(settings))
    assert sent_events(settings) == [(b"mal", b"value", [_names(settings, place)])]


def test_what_was_sent_back_is_left_out_the_next_time(settings: Settings) -> None:
    first = write(settings, *[Letter(b"x", partition=n % 3) for n in range(7)])
    assert asyncio.run(redrive(settings)).sent == 7
    (late,) = write(settings, Letter(b"late"))
    listing = asyncio.run(list_dead_letters(settings))
    assert {each.place for each in listing.entries if each.is_redriven} == set(first)
    assert listing.others == 0, "the notes are ours"
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, already=7)
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=0, already=8)
    assert len(sent_events(settings)) == 8
    assert asyncio.run(redrive(settings, places=[late])).sent == 1, "asked for by its place"
    assert len(sent_events(settings)) == 9


def test_a_reason_or_places_choose(settings: Settings) -> None:
    one, two, three = write(
        settings, Letter(b"1"), Letter(b"2", "too_large"), Letter(b"3", partition=2)
    )
    assert asyncio.run(redrive(settings, reason="too_large")).sent == 1
    assert asyncio.run(redrive(settings, places=[one, three])).sent == 2
    assert [value for _, value, _ in sent_events(settings)].count(b"2") == 1
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=0, already=3)
    assert two not in (one, three)


def test_more_than_a_chunk_goes_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.redrive.CHUNK", 4)
    write(settings, *[Letter(str(n).encode(), partition=n % 3) for n in range(11)])
    assert asyncio.run(redrive(settings)).sent == 11
    assert {value for _, value, _ in sent_events(settings)} == {b"%d" % n for n in range(11)}
    assert asyncio.run(redrive(settings)).already == 11


def test_a_dry_run_sends_and_notes_nothing(settings: Settings) -> None:
    write(settings, Letter(b"1"), Letter(b"2"))
    before = asyncio.run(ends(settings.brokers, settings.dlq_topic))
    for _ in range(2):
        result = nextclick(settings, "redrive", "--all", "--dry-run")
        assert result.stdout == f"2 records would be sent to `{settings.events_topic}`\n"
    assert sent_events(settings) == []
    assert asyncio.run(ends(settings.brokers, settings.dlq_topic)) == before


def test_what_came_from_another_topic_does_not_go_to_this_one(settings: Settings) -> None:
    strange, ours = write(settings, Letter(b"1", topic="elsewhere"), Letter(b"2"))
    with pytest.raises(DeadLetterError, match="came from the topic `elsewhere`"):
        asyncio.run(redrive(settings, places=[ours, strange]))
    assert sent_events(settings) == []
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, elsewhere=1)


@pytest.mark.parametrize(
    "letter",
    [
        Letter(b"v" * 1_001),
        Letter(b"", key=b"k" * 1_001),
        Letter(None, headers=[("h" * 500, b"v" * 501)]),
        Letter(b"v", headers=[("", b"")] * 100),
        Letter(b"v" * 400, key=b"k" * 300, headers=[("h", b"v" * 301)]),
    ],
)
def test_what_the_topic_cannot_take_is_cut_told_and_never_sent_back(
    settings: Settings, letter: Letter
) -> None:
    (place,) = write(settings, letter, most_bytes=1_000)
    stored = asyncio.run(find_dead_letter(settings, place))
    assert stored.is_truncated
    assert (letter.value or b"").startswith(stored.value or b"")
    assert stored.key in (letter.key, None)
    assert len(stored.value or b"") + len(stored.key or b"") <= 1_000
    assert list(stored.headers) == []
    assert "truncated    a part of the record" in nextclick(settings, "show", str(place)).stdout
    with pytest.raises(DeadLetterError, match="at partition 7, offset 100 of"):
        asyncio.run(redrive(settings, places=[place]))
    assert asyncio.run(redrive(settings)).truncated == 1
    assert sent_events(settings) == []


def test_what_kafka_refuses_is_told_and_the_rest_is_sent_and_noted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = settings.model_copy(update={"events_max_message_bytes": 1_024})
    large, _ = write(settings, Letter(b"x" * 200_000), Letter(b"small"))
    with pytest.raises(DeadLetterError, match=f"has not taken {large} back .*; 1 others are sent"):
        asyncio.run(redrive(small))
    assert [value for _, value, _ in sent_events(settings)] == [b"small"]
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, already=1)


def test_the_group_of_the_workers_is_not_touched(settings: Settings) -> None:
    write(settings, Letter(b"1"))
    asyncio.run(commit(settings.brokers, WORKERS, settings.events_topic, 0, 0))
    before = asyncio.run(committed(settings.brokers, WORKERS, settings.events_topic))
    assert asyncio.run(redrive(settings)).sent == 1
    assert asyncio.run(committed(settings.brokers, WORKERS, settings.events_topic)) == before


@pytest.mark.parametrize(
    "arguments", [[], ["--all", "--reason", "invalid"], ["0:0", "--all"], ["--reason", "none"]]
)
def test_a_redrive_wants_to_know_what(settings: Settings, arguments: Sequence[str]) -> None:
    assert nextclick(settings, "redrive", *arguments).exit_code == 2


def test_a_redrive_on_the_command_line(settings: Settings) -> None:
    place, _ = write(settings, Letter(b"1"), Letter(b"2"))
    assert nextclick(settings, "redrive", str(place)).stdout == (
        f"1 records sent to `{settings.events_topic}`\n"
    )
    assert json.loads(nextclick(settings, "redrive", "--all", "--json").stdout) == {
        "sent": 1,
        "already": 1,
        "elsewhere": 0,
        "truncated": 0,
        "dry_run": False,
    }


# With a worker


def test_workers_take_what_is_sent_back(stream_settings: Settings, tmp_path: Path) -> None:
    with running_shop(stream_settings, tmp_path) as shop:
        event = Click(event_id="late", user_id="rea", ts=int(time.time() * 1000), item_id="tea-1")
        # As after a fault that is mended since; and one that no release will take.
        write(stream_settings, Letter(encode_event(event), "processing_failed", key=b"rea"))
        shop.send_bytes(b"garbage", b"gus")
        shop.flush()
        shop.wait_for(lambda: len(shop.dead_letters) >= 2 or None, "the dead letter of garbage")

        assert asyncio.run(redrive(stream_settings)).sent == 2
        assert shop.list_for(event).user_id == "rea"
        again = shop.wait_for(
            lambda: next((each for each in shop.dead_letters if _is_again(each.headers)), None),
            "garbage is a dead letter again",
        )
        assert (again.key, again.value) == (b"gus", b"garbage")
        assert asyncio.run(redrive(stream_settings, reason="malformed_json")) == RedriveReport(
            sent=1, already=1, elsewhere=0
        )


def _is_again(headers: Headers) -> bool:
    """Whether a dead letter is that of a record which had been sent back."""
    names = {name for name, _ in headers}
    return REASON in names and REDRIVEN in names
