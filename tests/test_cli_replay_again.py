"""The same command of a replay again: after a stop, after its end, and on files that went wrong."""

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stream.event_columns import EventReader
from stream.replay.progress import ReplayBar
from stream.settings import Settings, child_environment
from tests.backends import Broker
from tests.replay_commands import Verb, click, past_of, replay_verb, settled, write, written
from tests.tiny import tiny_bundle

ROOT = Path(__file__).parent.parent
KEYS = {"into", "complete", "state", "before", "sent", "seconds", "first", "last", "highest_lag",
        "bad", "damaged"}  # fmt: skip
pytestmark = pytest.mark.either_backend


@pytest.fixture
def settings(
    broker: Broker,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    redis_url: str,
) -> Settings:
    tiny_bundle(tmp_path / "bundle", ["i"])
    return settled(
        broker, request.node.name, monkeypatch, tmp_path,
        redis_url=redis_url, bundle=tmp_path / "bundle",
    )  # fmt: skip


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    return replay_verb(monkeypatch, capsys)


@pytest.fixture
def sorted_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that have been read: looked at, and then to be sorted."""
    read, found = EventReader.read, list[Path]()

    def counted(self: EventReader, path: Path, name: Path | None = None) -> Any:
        found.append(path)
        return read(self, path, name)

    monkeypatch.setattr(EventReader, "read", counted)
    return found


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[ReplayBar]:
    """The progress bars that were shown."""
    found: list[ReplayBar] = []

    class Seen(ReplayBar):
        def begin(self, done: int) -> None:
            found.append(self)
            super().begin(done)

    monkeypatch.setattr("stream.replay.progress.ReplayBar", Seen)
    return found


def test_a_span_by_offsets_goes_on_and_is_complete(settings: Settings, verb: Verb) -> None:
    write(settings, [click(number) for number in range(40)])
    command: list[object] = [
        "topic",
        past_of(settings),
        "--from-offset",
        "0:2",
        "--to-offset",
        "0:9",
    ]
    command += ["--partition", 0, "--max-lag", 0, "--state", "s.json"]
    status, told, _ = verb(*command)
    assert (status, told["sent"], told["before"]) == (0, 7, 0)
    state = Path("s.json")
    half = json.loads(state.read_bytes()) | {"complete": False}
    half["position"] = {f"{past_of(settings)}:0": 5}
    state.write_text(json.dumps(half))
    status, told, _ = verb(*command)
    assert (status, told["sent"], told["before"]) == (0, 4, 3)
    status, told, _ = verb(*command)
    assert (status, told["sent"], told["before"], set(told)) == (0, 0, 7, KEYS)


@pytest.mark.parametrize("source", ["topic", "files"])
def test_the_answer_has_the_same_keys_always(
    settings: Settings, verb: Verb, tmp_path: Path, source: str
) -> None:
    write(settings, [click(number) for number in range(6)])
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(click(number) for number in range(6)))
    what = past_of(settings) if source == "topic" else "log.jsonl"
    for sent, before in ((6, 0), (0, 6)):
        status, told, _ = verb(source, what, "--max-lag", 0)
        assert (status, told["sent"], told["before"], set(told)) == (0, sent, before, KEYS)


@pytest.mark.parametrize("into", ["events", "shadow"])
def test_files_that_are_all_done_are_not_sorted_again(
    settings: Settings, verb: Verb, tmp_path: Path, sorted_files: list[Path], into: str
) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([click(1), b"{", click(0)]))
    command = [
        "files",
        "log.jsonl",
        "--into",
        into,
        *([] if into == "shadow" else ["--max-lag", 0]),
    ]
    first = verb(*command)
    assert sorted_files == [Path("log.jsonl")] * 2
    (tmp_path / "log.jsonl").rename(tmp_path / "renamed.jsonl")
    command[1] = "renamed.jsonl"
    again = verb(*command)
    assert sorted_files == [Path("log.jsonl")] * 2
    for status, told, _ in (first, again):
        assert (status, told["complete"], told["bad"]) == (1, True, 1)
    assert first[1].keys() == again[1].keys()
    assert first[1]["bad_rows"] == again[1]["bad_rows"]
    done = "events" if into == "shadow" else "sent"
    assert (first[1][done], again[1][done]) == (2, 0)


def test_of_a_damaged_file_the_good_part_is_sent_and_the_status_tells(
    settings: Settings, verb: Verb, tmp_path: Path
) -> None:
    values = b"\n".join(click(number) for number in range(900))
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(values)[:-100])
    for is_first in (True, False):
        status, told, err = verb("files", "log.jsonl.gz", "--max-lag", 0)
        assert status == 2
        assert told["complete"]
        assert (0 < told["sent"] < 900) is is_first
        assert "log.jsonl.gz is damaged from line" in told["damaged"][0]
        assert "whole copy; no more was taken than what stands before the damage" in err
    status, _, err = verb("files", "log.jsonl.gz", "--max-lag", 0, "--again", "--strict")
    assert status == 2
    assert "log.jsonl.gz is damaged from line" in err


@pytest.mark.parametrize("into", ["events", "shadow"])
def test_the_bar_counts_what_is_left_out(
    settings: Settings, verb: Verb, bars: list[ReplayBar], into: str
) -> None:
    write(settings, [b"{" if number % 4 == 3 else click(number) for number in range(40)])
    options = [] if into == "shadow" else ["--max-lag", 0]
    status, told, _ = verb("topic", past_of(settings), "--into", into, *options)
    assert (status, told["bad"], [bar.done for bar in bars]) == (1, 10, [40])


@pytest.mark.parametrize(
    "source", [["files", "--dry-run"], ["topic", "--dry-run"]], ids=["files", "topic"]
)
def test_a_dry_run_says_what_it_leaves(
    settings: Settings, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    source: list[str],
) -> None:  # fmt: skip
    write(settings, [click(0)])
    (tmp_path / "log.jsonl").write_bytes(click(0))
    told: list[str] = []
    monkeypatch.setattr(
        "stream.cli_replay.say", lambda as_json, machine, person: told.append(person)
    )
    verb(source[0], "log.jsonl" if source[0] == "files" else past_of(settings), *source[1:])
    kept = [path for path in tmp_path.glob(".nextclick/replay/*") if path.is_dir()]
    assert len(kept) == (source[0] == "files")
    assert ("the sorted events stay in .nextclick/replay/" in told[0]) is bool(kept)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_end_while_it_reads_is_told(
    settings: Settings, tmp_path: Path, end: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "stream.cli", "replay", "files", "-"],
        cwd=tmp_path,
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        while not list(tmp_path.glob(".nextclick/replay/*/stdin")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(end)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"stopped before anything was sent or built; the same command begins again" in err


def test_status_tells_how_far_replays_and_generations_are(
    settings: Settings, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, [click(number) for number in range(40)])
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(click(number) for number in range(6)))
    verb("topic", past_of(settings), "--max-lag", 0)
    verb("files", "log.jsonl", "--into", "shadow")
    _, told, _ = verb("status")
    [replay] = told["replays"]
    assert (replay["is_complete"], replay["is_running"]) == (True, False)
    assert (replay["done"], replay["total"]) == (40, 40)
    assert {each["number"]: each["left"] for each in told["generations"]} == {0: None, 1: 0}

    async def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the power is gone")

    monkeypatch.setattr("stream.replay.build.build", broken)
    with pytest.raises(OSError, match="the power is gone"):
        verb("topic", past_of(settings), "--into", "shadow", "--from-offset", "1:2")
    _, told, _ = verb("status")
    assert {each["number"]: each["left"] for each in told["generations"]} == {0: None, 1: 38}


def test_a_state_that_is_no_state_is_not_written_over(
    settings: Settings, verb: Verb, tmp_path: Path
) -> None:
    (tmp_path / "accounts.csv").write_text("ours")
    write(settings, [click(0)])
    status, _, err = verb(
        "topic", past_of(settings), "--state", "accounts.csv", "--again", "--max-lag", 0
    )
    assert status == 2
    assert "accounts.csv cannot be read as the state of a replay" in err
    assert (tmp_path / "accounts.csv").read_text() == "ours"
    assert written(settings) == []


def test_a_side_file_in_the_way_is_told_before_anything_is_read(
    settings: Settings, verb: Verb, tmp_path: Path, sorted_files: list[Path]
) -> None:
    (tmp_path / "log.jsonl").write_bytes(click(0))
    status, _, err = verb("files", "log.jsonl", "--bad-rows", "bundle", "--max-lag", 0)
    assert (status, sorted_files) == (2, [])
    assert "bundle cannot be written (it is a folder); name another file with --bad-rows" in err


def test_letters_between_colons_stay_what_they_are(
    settings: Settings, verb: Verb, tmp_path: Path
) -> None:
    (tmp_path / "log.jsonl").write_bytes(click(0) + b"\n" + b'{"type": ":100:"}')
    _, _, err = verb("files", "log.jsonl", "--max-lag", 0)
    assert "':100:'" in err
    assert "💯" not in err
