"""Dead letters listed and shown: all of what is there, and nothing that a terminal obeys."""

import asyncio
import json

import pytest

from stream.complaint import complaint
from stream.deadletter import DEAD_LETTER_HEADERS, REASON
from stream.dlq import DeadLetterError, find_dead_letter, list_dead_letters
from stream.kafka import TopicError
from stream.redrive import redrive
from stream.settings import Settings
from tests.backends import Broker
from tests.dead_letters import (
    ODD_BYTES,
    Headers,
    Letter,
    nextclick,
    sent_events,
    with_own_topics,
    write,
    write_foreign,
)

pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(stream_settings: Settings, broker: Broker) -> Settings:
    return with_own_topics(stream_settings, broker)


# Listing


def test_a_list_is_newest_first_and_tells_what_there_is(settings: Settings) -> None:
    places = write(
        settings,
        Letter(b"one"),
        Letter(b"", "malformed_json", partition=1),
        Letter(b"three", partition=2),
    )
    listing = asyncio.run(list_dead_letters(settings))
    assert [each.place for each in listing.entries] == places[::-1]
    assert (listing.matching, listing.others) == (3, 0)
    newest = listing.entries[0]
    assert (newest.reason, newest.size, newest.is_redriven) == ("invalid", 5, False)
    assert newest.source == f"{settings.events_topic}:7:102"


def test_a_list_can_be_cut_by_reason_and_number(settings: Settings) -> None:
    places = write(
        settings,
        *[Letter(b"x", ("invalid", "too_large")[n % 2], partition=n % 3) for n in range(9)],
    )
    listing = asyncio.run(list_dead_letters(settings, reason="invalid", limit=2))
    assert [each.place for each in listing.entries] == [places[8], places[6]]
    assert listing.matching == 5


def test_an_empty_topic_lists_nothing(settings: Settings) -> None:
    assert asyncio.run(list_dead_letters(settings)) == ([], 0, 0)
    assert nextclick(settings, "list").stdout == "0 dead letters, 0 shown\n"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(REASON, b"invalid")],
        [(name, b"x") for name in DEAD_LETTER_HEADERS],
        [(name, b"\xff") for name in DEAD_LETTER_HEADERS],
    ],
)
def test_records_of_others_are_counted_apart(settings: Settings, headers: Headers) -> None:
    write_foreign(settings, headers)
    write(settings, Letter(b"ours"))
    listing = asyncio.run(list_dead_letters(settings))
    assert (len(listing.entries), listing.others) == (1, 1)
    assert asyncio.run(redrive(settings)).sent == 1


def test_the_list_on_the_command_line(settings: Settings) -> None:
    (place,) = write(settings, Letter(b"one"))
    table = nextclick(settings, "list").stdout
    assert f" {place} " in table
    assert "1 dead letters, 1 shown" in table
    told = json.loads(nextclick(settings, "list", "--json").stdout)
    assert told["dead_letters"][0]["place"] == str(place)
    assert nextclick(settings, "list", "--reason", "boring").exit_code == 2


# Showing


def test_json_is_shown_indented_and_not_changed(settings: Settings) -> None:
    value = b'{"type":"click","ts":' + b"9" * 5000 + b',"ts":1e999}'
    (place,) = write(settings, Letter(value, headers=[("trace", b"\xff\n")]))
    page = nextclick(settings, "show", str(place)).stdout
    assert '{\n  "type": "click",\n  "ts": ' + "9" * 5000 + ',\n  "ts": 1e999\n}\n' in page
    assert "detail       broken: invalid\n" in page
    assert "key          mal\n" in page
    assert "header       trace: \\xff\\u000a\n" in page
    assert f"from         {settings.events_topic}:7:100\n" in page


def test_a_terminal_never_obeys_what_is_shown(settings: Settings) -> None:
    (place,) = write(settings, Letter(ODD_BYTES, key=ODD_BYTES))
    page = nextclick(settings, "show", str(place)).stdout
    assert {each for each in page if not each.isprintable()} == {"\n"}
    assert "\\u001b[31m" in page
    assert "\\u202e" in page
    assert "茶" in page


def test_raw_is_the_value_byte_for_byte(settings: Settings) -> None:
    (place,) = write(settings, Letter(ODD_BYTES * 700))
    assert nextclick(settings, "show", str(place), "--raw").stdout_bytes == ODD_BYTES * 700
    assert "--raw writes all" in nextclick(settings, "show", str(place)).stdout


def test_no_value_is_not_an_empty_value(settings: Settings) -> None:
    null, empty = write(settings, Letter(None, "null_value"), Letter(b"", key=None))
    assert "value        null" in nextclick(settings, "show", str(null)).stdout
    assert "value        0 bytes" in nextclick(settings, "show", str(empty)).stdout
    assert (
        json.loads(nextclick(settings, "show", str(null), "--json").stdout)["value_base64"] is None
    )
    assert asyncio.run(find_dead_letter(settings, empty)).key is None


@pytest.mark.parametrize("place", ["0:1", "0:99", "2:0", "9:0"])
def test_a_place_without_a_dead_letter_is_told(settings: Settings, place: str) -> None:
    write(settings, Letter(b"at 0:0"))
    write_foreign(settings, [])
    for arguments in (["show", place], ["redrive", "0:0", place]):
        error = nextclick(settings, *arguments).exception
        assert isinstance(error, DeadLetterError)
        assert f"no dead letter at {place};" in str(complaint(error))
    assert sent_events(settings) == []


@pytest.mark.parametrize("place", ["", "3", "3:", ":4", "a:b", "-1:0", "1:2:3"])
def test_what_is_no_place_is_told(settings: Settings, place: str) -> None:
    result = nextclick(settings, "show", "--", place)
    assert result.exit_code == 2
    assert "PARTITION:OFFSET" in result.stderr


def test_a_topic_that_is_missing_is_told(settings: Settings) -> None:
    # Of another name than any topic here: nobody may make it by asking.
    astray = settings.model_copy(update={"dlq_topic": "nowhere"})
    for _ in range(2):
        with pytest.raises(TopicError, match="there is no topic `nowhere`"):
            asyncio.run(redrive(astray))
