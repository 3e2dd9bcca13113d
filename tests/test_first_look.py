"""A replay of what is no past of ours: told by its first records, before anything is written."""

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from stream.replay.first_look import LOOK
from stream.replay.generations import opened
from stream.settings import Settings
from tests.backends import Broker
from tests.replay_commands import (
    START,
    Verb,
    click,
    past_of,
    replay_verb,
    settled,
    write,
    written,
)
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.either_backend

RIGHT = ["--map", "who=user_id", "--map", "what=item_id", "--map", "when=ts", "--map", "kind=type"]
WRONG = ["--mapping", "retailrocket"]
SHOP = """
others = "leave_out"

[fields]
user_id = "who"
item_id = "what"
ts = "when"

[[rules]]
when = { kind = "click" }
type = "click"
"""


@pytest.fixture
def settings(
    broker: Broker,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    redis_url: str,
) -> Settings:
    tiny_bundle(tmp_path / "bundle", ["i"])
    (tmp_path / "shop.toml").write_text(SHOP)
    return settled(
        broker, request.node.name, monkeypatch, tmp_path,
        redis_url=redis_url, bundle=tmp_path / "bundle",
    )  # fmt: skip


class Commands:
    """The same values as a topic, a file, or standard input, replayed."""

    def __init__(self, settings: Settings, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
        self._settings, self.verb, self._monkeypatch = settings, verb, monkeypatch
        self.values: list[bytes] = []

    def write(self, values: list[bytes]) -> None:
        """Where each source finds them."""
        self.values = values
        write(self._settings, values)
        Path("log.jsonl").write_bytes(b"\n".join(values))

    def __call__(self, source: str, *options: object) -> tuple[int, dict[str, object], str]:
        if source == "topic":
            return self.verb("topic", past_of(self._settings), *options)
        stdin = io.TextIOWrapper(io.BytesIO(b"\n".join(self.values)))
        self._monkeypatch.setattr(sys, "stdin", stdin)
        return self.verb("files", "-" if source == "stdin" else "log.jsonl", *options)


@pytest.fixture
def replay(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(settings, replay_verb(monkeypatch, capsys), monkeypatch)


def foreign(number: int, kind: object = "click", when: object = START) -> bytes:
    return json.dumps({"who": f"u{number}", "what": "i", "when": when, "kind": kind}).encode()


def shadow_of(settings: Settings) -> int | None:
    """The generation that is being built."""

    async def read() -> int | None:
        async with opened(settings) as (_, generations):
            return (await generations.read()).building

    return asyncio.run(read())


@pytest.mark.parametrize("into", ["events", "shadow"])
@pytest.mark.parametrize("source", ["topic", "file", "stdin"])
def test_a_wrong_mapping_is_told_before_anything_is_written(
    settings: Settings, replay: Commands, tmp_path: Path, source: str, into: str
) -> None:
    replay.write([foreign(number) for number in range(20)])
    options = ["--into", into, *(["--max-lag", 0] if into == "events" else [])]
    for is_dry in (False, True):
        status, told, err = replay(source, *WRONG, *options, *(["--dry-run"] if is_dry else []))
        assert (status, told) == (2, {})
        sentence = err.splitlines()[-1]
        assert sentence.startswith("nextclick: ")
        assert "`visitorid` for `user_id`" in sentence, "what was expected"
        assert "`who`, `what`, `when`, `kind`" in sentence, "what came"
        assert "correct retailrocket, or name another mapping" in sentence
    assert written(settings) == []
    assert shadow_of(settings) is None
    left = [path.name for path in (tmp_path / ".nextclick" / "replay").glob("*")]
    assert set(left) <= {"lock"}, "neither a state, nor sorted events, nor bad rows"
    status, told, _ = replay(source, *RIGHT, *options)
    assert (status, told["sent" if into == "events" else "events"], told["bad"]) == (0, 20, 0)


def test_a_topic_of_something_else_is_told_by_its_first_record(
    settings: Settings, replay: Commands
) -> None:
    replay.write([f"<visit n='{number}'/>".encode() for number in range(LOOK + 100)])
    status, _, err = replay("topic", "--max-lag", 0)
    assert status == 2
    [sentence] = err.splitlines()
    place = f"{past_of(settings)}:0:0"
    assert sentence.startswith(
        f"nextclick: of the first 1,000 records of topic `{past_of(settings)}` none can be "
        f"understood; the first is {place}: malformed_json: "
    )
    assert sentence.endswith(
        "Nothing was sent or built: say with --mapping what stands for it (docs/mapping.md); "
        "--keep-going goes on all the same, and leaves out what cannot be understood"
    )


@pytest.mark.parametrize("source", ["topic", "file", "stdin"])
def test_values_that_no_rule_understands_are_told_where_they_stand(
    settings: Settings, replay: Commands, source: str
) -> None:
    replay.write([foreign(number, when="yesterday") for number in range(8)])
    status, _, err = replay(source, "--mapping", "shop.toml", "--max-lag", 0)
    assert status == 2
    [sentence] = err.splitlines()
    place = {"topic": f"{past_of(settings)}:0:0", "file": "log.jsonl:1", "stdin": "-:1"}[source]
    assert f"the first is {place}: invalid: `when` is 'yesterday'" in sentence
    assert "correct shop.toml" in sentence


@pytest.mark.parametrize("source", ["topic", "file", "stdin"])
def test_only_a_beginning_without_any_event_stops_it(
    settings: Settings, replay: Commands, source: str
) -> None:
    replay.write([b"{"] * LOOK + [click(0)])
    status, _, err = replay(source, "--max-lag", 0)
    assert (status, written(settings)) == (2, [])
    assert "of the first 1,000" in err
    status, told, err = replay(source, "--max-lag", 0, "--keep-going")
    assert (status, told["sent"], told["bad"]) == (1, 1, LOOK)
    assert "of the first" not in err


@pytest.mark.parametrize("source", ["topic", "file", "stdin"])
def test_one_event_among_the_first_is_enough(
    settings: Settings, replay: Commands, source: str
) -> None:
    replay.write([b"{"] * (LOOK - 1) + [click(0)])
    status, told, _ = replay(source, "--max-lag", 0)
    assert (status, told["sent"], told["bad"]) == (1, 1, LOOK - 1)


@pytest.mark.parametrize("source", ["topic", "file"])
def test_a_mapping_that_leaves_out_all_of_a_thousand_is_the_wrong_one(
    settings: Settings, replay: Commands, source: str
) -> None:
    options = ["--mapping", "shop.toml", "--max-lag", 0]
    replay.write([foreign(number, "page") for number in range(5)])
    status, told, _ = replay(source, *options)
    assert (status, told["sent"], told["bad"]) == (0, 0, 0), "a quiet hour"
    replay.write([foreign(number, "page") for number in range(LOOK)])
    status, _, err = replay(source, *options, "--again")
    assert status == 2
    assert "none makes an event: shop.toml leaves out all of them on purpose" in err


def test_what_was_begun_goes_on_over_whatever_comes(settings: Settings, replay: Commands) -> None:
    replay.write([click(0), *[b"{"] * 7])
    options = ["--partition", 0, "--max-lag", 0, "--state", "s.json"]
    status, told, _ = replay("topic", *options)
    assert (status, told["sent"], told["bad"]) == (1, 1, 1)
    # Stopped behind the first record: what is left holds no event.
    half = json.loads(Path("s.json").read_bytes()) | {"complete": False}
    half["position"] = {f"{past_of(settings)}:0": 1}
    Path("s.json").write_text(json.dumps(half))
    status, told, _ = replay("topic", *options)
    assert (status, told["sent"], told["bad"], told["complete"]) == (1, 0, 1, True)


@pytest.mark.parametrize("names", ["a.jsonl b.jsonl", "b.jsonl a.jsonl"], ids=["ab", "ba"])
def test_of_several_files_one_is_enough_in_any_order(
    settings: Settings, replay: Commands, names: str
) -> None:
    replay.write([])
    Path("a.jsonl").write_bytes(b"{\n" * LOOK * 2)
    Path("b.jsonl").write_bytes(click(0))
    status, told, _ = replay.verb("files", *names.split(), "--max-lag", 0)
    assert (status, told["sent"], told["bad"]) == (1, 1, LOOK * 2)
    Path("b.jsonl").write_bytes(b"{")
    status, _, err = replay.verb("files", *names.split(), "--max-lag", 0)
    assert status == 2
    assert "of the first 1,001 rows none can be understood" in err
