"""Dead letters: listed, shown, and sent back exactly as they came, once unless asked again."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from model.events import Click, ContractError, Reason, encode_event
from stream import cli
from stream.complaint import complaint
from stream.deadletter import (
    DEAD_LETTER_HEADERS,
    NULL_VALUE,
    REASON,
    REDRIVEN,
    Place,
    dead_letter_headers,
)
from stream.dlq import DeadLetterError, find_dead_letter, list_dead_letters
from stream.kafka import TopicError, producer_arguments
from stream.redrive import RedriveReport, redrive
from stream.settings import Settings, settings_environment
from tests.backends import Broker
from tests.kafka_log import commit, committed, ends, read
from tests.shop import running_shop

pytestmark = pytest.mark.either_backend

WORKERS = "workers"
ODD_BYTES = bytes(range(256)) + "茶\u202e\x1b[31m".encode()

Headers = list[tuple[str, bytes]]
_number = itertools.count()


@pytest.fixture
def settings(stream_settings: Settings, broker: Broker) -> Settings:
    """Settings with events and dead letters of the test's own, three partitions each."""
    number = next(_number)
    names = {"events_topic": f"events-{number}", "dlq_topic": f"dead-{number}"}
    broker.create_topics(dict.fromkeys(names.values(), 3))
    return stream_settings.model_copy(update=names | {"group": WORKERS})


class Letter:
    """A dead letter to be written."""

    def __init__(
        self,
        value: bytes | None,
        reason: Reason = "invalid",
        *,
        key: bytes | None = b"mal",
        headers: Headers | None = None,
        topic: str | None = None,
        partition: int = 0,
    ) -> None:
        self.value, self.key, self.topic, self.partition = value, key, topic, partition
        self.headers = headers or []
        self.error = ContractError(reason, f"broken: {reason}")


def write(settings: Settings, *letters: Letter) -> list[Place]:
    """Write dead letters as a worker does, one millisecond apart."""

    async def send() -> list[Place]:
        present = int(time.time() * 1000)
        async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
            stored = [
                await producer.send_and_wait(
                    settings.dlq_topic,
                    letter.value or b"",
                    key=letter.key,
                    partition=letter.partition,
                    timestamp_ms=present + step,
                    headers=dead_letter_headers(
                        letter.error,
                        letter.topic or settings.events_topic,
                        7,
                        100 + step,
                        is_null=letter.value is None,
                        original=letter.headers,
                    ),
                )
                for step, letter in enumerate(letters)
            ]
        return [Place(each.partition, each.offset) for each in stored]

    return asyncio.run(send())


def write_foreign(settings: Settings, headers: Headers) -> None:
    """Write a record to the dead-letter topic that is no dead letter of ours."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers) as producer:
            await producer.send_and_wait(settings.dlq_topic, b"?", partition=0, headers=headers)

    asyncio.run(send())


def sent_events(settings: Settings) -> list[tuple[bytes | None, bytes | None, Headers]]:
    """Key, value and headers of everything in the events topic."""
    found = asyncio.run(read(settings.brokers, settings.events_topic))
    return [
        (record.key, record.value, list(record.headers))
        for records in found.values()
        for record in records
    ]


def nextclick(settings: Settings, *arguments: str) -> Result:
    """Run a verb in this process under these settings."""
    environment = settings_environment(settings) | {"NEXTCLICK_CONFIG": "", "COLUMNS": "200"}
    return CliRunner().invoke(cli.app, ["dlq", *arguments], env=environment)


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
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=4, already=0, elsewhere=0)
    expected = [
        (letter.key, letter.value, [*letter.headers, _names(settings, place)])
        for letter, place in zip(originals, places, strict=True)
    ]
    assert sorted(sent_events(settings), key=str) == sorted(expected, key=str)


def _names(settings: Settings, place: Place) -> tuple[str, bytes]:
    return REDRIVEN, f"{settings.dlq_topic}:{place}".encode()


def test_headers_that_pose_as_ours_are_not_believed(settings: Settings) -> None:
    forged: Headers = [(REASON, b"fine"), (NULL_VALUE, b"1"), (REDRIVEN, b"earlier:0:0")]
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
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, already=7, elsewhere=0)
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=0, already=8, elsewhere=0)
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
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=0, already=3, elsewhere=0)
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
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, already=0, elsewhere=1)


def test_what_kafka_refuses_is_told_and_the_rest_is_sent_and_noted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = settings.model_copy(update={"events_max_message_bytes": 1_024})
    large, _ = write(settings, Letter(b"x" * 200_000), Letter(b"small"))
    with pytest.raises(DeadLetterError, match=f"has not taken {large} back .*; 1 others are sent"):
        asyncio.run(redrive(small))
    assert [value for _, value, _ in sent_events(settings)] == [b"small"]
    assert asyncio.run(redrive(settings)) == RedriveReport(sent=1, already=1, elsewhere=0)


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
        "dry_run": False,
    }


# With a worker


@pytest.fixture(scope="module")
def shop_settings(stream_settings: Settings) -> Iterator[Settings]:
    yield stream_settings


def test_workers_take_what_is_sent_back(
    shop_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("redrive")
    with running_shop(shop_settings, folder) as shop:
        event = Click(event_id="late", user_id="rea", ts=int(time.time() * 1000), item_id="tea-1")
        # As after a fault that is mended since; and one that no release will take.
        write(shop_settings, Letter(encode_event(event), "processing_failed", key=b"rea"))
        shop.send_bytes(b"garbage", b"gus")
        shop.flush()
        shop.wait_for(lambda: len(shop.dead_letters) >= 2 or None, "the dead letter of garbage")

        assert asyncio.run(redrive(shop_settings)).sent == 2
        assert shop.list_for(event).user_id == "rea"
        again = shop.wait_for(
            lambda: next((each for each in shop.dead_letters if _is_again(each.headers)), None),
            "garbage is a dead letter again",
        )
        assert (again.key, again.value) == (b"gus", b"garbage")
        assert asyncio.run(redrive(shop_settings, reason="malformed_json")) == RedriveReport(
            sent=1, already=1, elsewhere=0
        )


def _is_again(headers: Headers) -> bool:
    """Whether a dead letter is that of a record which had been sent back."""
    names = {name for name, _ in headers}
    return REASON in names and REDRIVEN in names
