"""The command line of the replay: plan, checkpoint, what is left out, and exit statuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.replay.record_sender import ORIGINAL_PLACE, ORIGINAL_TIME
from stream.settings import Settings, child_environment
from tests.backends import Broker
from tests.replay_commands import (
    PARTITIONS,
    START,
    Verb,
    click,
    past_of,
    replay_verb,
    settled,
    write,
    written,
)

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(
    broker: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    return settled(broker, request.node.name, monkeypatch, tmp_path)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    return replay_verb(monkeypatch, capsys)


def test_a_topic_comes_back_as_it_was_keyed_and_marked(settings: Settings, verb: Verb) -> None:
    write(settings, [click(number) for number in range(20)])
    status, told, err = verb("topic", past_of(settings), "--max-lag", 0)
    assert (status, told["sent"], told["bad"], told["complete"]) == (0, 20, 0, True)
    assert (told["first"], told["last"]) == (START, START + 19_000)
    assert f"writes  topic `{settings.events_topic}`" in err
    records = {json.loads(each.value)["event_id"]: each for each in written(settings)}
    assert len(records) == 20
    for number in range(20):
        record = records[f"e{number}"]
        assert record.value == click(number)
        assert record.key == f"u{number % 5}".encode()
        place = f"{past_of(settings)}:{number % PARTITIONS}:{number // PARTITIONS}"
        assert record.headers == [
            ("trace", b"\xff"),
            ("nextclick-replay", b"1"),
            (ORIGINAL_TIME, str(START + 1_000 * number).encode()),
            (ORIGINAL_PLACE, place.encode()),
        ]


def test_what_was_replayed_before_keeps_its_first_time_and_place(
    settings: Settings, verb: Verb
) -> None:
    write(settings, [click(3)])
    verb("topic", past_of(settings), "--max-lag", 0)
    verb("topic", settings.events_topic, "--max-lag", 0)
    first, second = written(settings)
    assert first.headers == second.headers
    assert len(second.headers) == 4


def test_what_is_complete_is_sent_again_only_when_told_to(settings: Settings, verb: Verb) -> None:
    write(settings, [click(number) for number in range(6)])
    command = ["topic", past_of(settings), "--max-lag", 0]
    assert verb(*command)[1]["sent"] == 6
    write(settings, [click(6)])
    status, told, _ = verb(*command)
    assert (status, told["sent"], told["complete"]) == (0, 0, True)
    assert len(written(settings)) == 6
    status, told, _ = verb(*command, "--again")
    assert (status, told["sent"]) == (0, 7)


def test_a_replay_of_another_state_is_refused(settings: Settings, verb: Verb) -> None:
    write(settings, [click(number) for number in range(6)])
    verb("topic", past_of(settings), "--max-lag", 0, "--state", "s.json")
    status, _, err = verb("topic", past_of(settings), "--partition", 1, "--state", "s.json")
    assert status == 2
    assert "s.json is the state of another replay; name another --state" in err


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    settings: Settings, verb: Verb, tmp_path: Path
) -> None:
    write(settings, [click(number) for number in range(6)])
    status, told, err = verb(
        "topic", past_of(settings), "--from-offset", "0:1", "--speed", "10x", "--dry-run"
    )
    assert (status, told["total"], told["dry_run"]) == (0, 5, True)
    for line in (
        f"reads   topic `{past_of(settings)}` at {settings.brokers}, without any consumer group",
        "partition 0: offsets 1 to 1",
        "records 5",
        "pace    at 10 times the speed of event time, never more than 5,000 events ahead of group",
    ):
        assert line in err
    assert written(settings) == []
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("strict", [False, True])
def test_bad_records_are_told_counted_and_kept(
    settings: Settings, verb: Verb, tmp_path: Path, strict: bool
) -> None:
    write(settings, [click(0), b"\xff{", click(2)])
    options = ["--bad-rows", "bad.jsonl", "--max-lag", 0, *(["--strict"] if strict else [])]
    status, told, err = verb("topic", past_of(settings), *options)
    assert f"{past_of(settings)}:1:0: malformed_json: " in err
    if strict:
        assert (status, told) == (2, {})
        return
    assert (status, told["sent"], told["bad"], told["bad_rows"]) == (1, 2, 1, "bad.jsonl")
    [line] = (tmp_path / "bad.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert (kept["partition"], kept["offset"], kept["reason"]) == (1, 0, "malformed_json")
    assert kept["value_base64"] == "/3s="
    assert (tmp_path / "bad.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rate", "5", "--speed", "2"], "give --rate or --speed, not both"),
        (["--rate", "0"], "--rate takes a number above 0"),
        (["--speed", "fast"], "--speed takes a number above 0"),
        (["--into", "nowhere"], "'nowhere' is no target"),
        (["--into", "shadow", "--rate", "5"], "a shadow set is built as fast as it goes"),
        (["--from", "yesterday"], "'yesterday' is no time"),
        (["--from-offset", "7"], "'7' is no place"),
        (["--from", "2026-01-05", "--to", "2026-01-01"], "--from is not before --to"),
        (["--from-offset", "3:9", "--to-offset", "3:9"], "--from-offset 3:9 is not before"),
        (["--partition", "1", "--to-offset", "3:9"], "partition 3 has an offset and is none of"),
        (["--mapping", "segment", "--map", "a=user_id"], "give --mapping or --map, not both"),
    ],
)
def test_options_that_make_no_sense(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, _, err = verb("topic", "events", *options)
    assert status == 2
    assert sentence in err


@pytest.mark.parametrize(("bad_rows", "status"), [(0, 0), (2, 1)])
def test_files_are_sorted_sent_and_counted(
    settings: Settings, verb: Verb, tmp_path: Path, bad_rows: int, status: int
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*(click(n) for n in reversed(range(9))), *[b"{"] * bad_rows]))
    code, told, err = verb("files", path, "--max-lag", 0)
    assert (told["sent"], told["bad"], code) == (9, bad_rows, status)
    assert (told["first"], told["last"]) == (START, START + 8_000)
    assert err.count(f"{path}:") == bad_rows
    headers = dict(written(settings)[0].headers)
    assert headers.keys() == {"nextclick-replay", ORIGINAL_TIME}
    code, told, _ = verb("files", path, "--max-lag", 0)
    assert (told["sent"], told["complete"]) == (0, True)


def test_foreign_files_are_mapped(settings: Settings, verb: Verb, tmp_path: Path) -> None:
    names = ["--map", "who=user_id", "--map", "what=item_id", "--map", "when=ts"]
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"who": "ana", "what": "tea", "when": START, "type": "click"})
    )
    code, told, _ = verb("files", tmp_path / "log.jsonl", *names, "--max-lag", 0)
    assert (code, told["sent"]) == (0, 1)
    [record] = written(settings)
    assert record.key == b"ana"
    assert json.loads(record.value)["item_id"] == "tea"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_replay_that_was_ended_goes_on_where_it_was(
    settings: Settings, verb: Verb, tmp_path: Path, end: signal.Signals
) -> None:
    write(settings, [click(number) for number in range(300)])
    command = ["topic", past_of(settings), "--max-lag", "0", "--state", "state.json"]
    slow = ["--rate", "40/s", "--json"]
    state = tmp_path / "state.json"
    with subprocess.Popen(
        [sys.executable, "-m", "stream.cli", "replay", *command, *slow],
        cwd=tmp_path,
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not _some_done(state):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(end)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (-9 if end == signal.SIGKILL else 130)
    if end != signal.SIGKILL:
        assert "stopped; the same command goes on where it was (state.json)" in err
    before = len(written(settings))
    assert before < 300
    status, told, _ = verb(*command)
    assert (status, told["complete"]) == (0, True)
    assert 0 < told["before"] <= before
    assert told["before"] + told["sent"] == 300
    records = written(settings)
    assert {json.loads(each.value)["event_id"] for each in records} == {
        f"e{number}" for number in range(300)
    }
    if end != signal.SIGKILL:
        assert len(records) == 300, "an orderly end knows what was sent"


def _some_done(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_bytes())["position"])
    except FileNotFoundError:
        return False


def test_two_replays_of_one_state_do_not_run_at_once(
    settings: Settings, verb: Verb, tmp_path: Path
) -> None:
    import fcntl

    write(settings, [click(0)])
    lock = os.open(tmp_path / "s.json.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        status, _, err = verb("topic", past_of(settings), "--state", "s.json", "--max-lag", 0)
    finally:
        os.close(lock)
    assert status == 2
    assert "another replay is at work on s.json" in err
