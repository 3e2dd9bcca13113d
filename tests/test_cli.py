"""The command line: help, exit statuses, and sentences instead of tracebacks."""

import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import typer
from aiokafka.errors import KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError
from rich.console import Console

from stream import cli, up
from stream.cluster import LocalCluster
from stream.complaint import OURS, THEIRS, complaint
from stream.settings import Settings
from tests.command_line import typed
from tests.tiny import tiny_bundle

GROUP: Any = typer.main.get_command(cli.app)
VERBS = {
    "api", "api-key",
    "up", "worker", "ingest", "replay", "train", "export", "evaluate", "recommend", "check",
    "topics", "demo", "forget", "dlq", "acl", "sign-bundle",
}  # fmt: skip
COMMANDS: dict[str, Any] = GROUP.commands | {
    f"{verb} {name}": command
    for verb, group in GROUP.commands.items()
    for name, command in getattr(group, "commands", {}).items()
}
"""By what a person types: verbs, and the verbs of a verb."""
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine; what a verb sets is taken back."""
    for name in Settings.model_fields:
        variable = f"NEXTCLICK_{name.upper()}"
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("NEXTCLICK_CONFIG", "")
    monkeypatch.chdir(tmp_path)


def test_the_verbs() -> None:
    assert set(GROUP.commands) == VERBS
    assert set(COMMANDS) - VERBS >= {"dlq list", "dlq show", "dlq redrive", "replay files"}


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_verb_has_help_and_an_example(verb: str) -> None:
    command = COMMANDS[verb]
    assert len(command.help) > 30
    assert f"nextclick {verb}" in command.epilog
    for parameter in command.params:
        assert parameter.help, f"{verb} {parameter.name}"


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_the_options_of_an_example_exist(verb: str) -> None:
    command = COMMANDS[verb]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", command.epilog)) <= known


def test_a_wrong_setting_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEXTCLICK_PROVIDER", "tpu")
    status, out, err = typed(monkeypatch, capsys, "topics")
    assert (status, out) == (2, "")
    assert err.startswith("nextclick: `provider` is 'tpu'")
    assert err.count("\n") == 1


def test_a_wrong_file_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "events.txt").touch()
    status, _, err = typed(monkeypatch, capsys, "replay", "files", "events.txt")
    assert status == 2
    assert err.startswith("nextclick: events.txt is of no known format; name it .jsonl")


UNREACHED = {
    "topics": [],
    "ingest": ["a.jsonl"],
    "replay files": ["a.jsonl"],
    "replay topic": ["events"],
    "forget": ["household-17"],
    "recommend": ["household-17"],
    "dlq list": [],
    "dlq show": ["0:0"],
    "dlq redrive": ["--all"],
}


@pytest.mark.parametrize("verb", UNREACHED)
def test_an_unreachable_broker_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    monkeypatch.setenv("NEXTCLICK_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("NEXTCLICK_KAFKA_TIMEOUT_S", "1")
    (tmp_path / "a.jsonl").write_bytes(b"")
    status, out, err = typed(monkeypatch, capsys, *verb.split(), *UNREACHED[verb])
    assert (status, out) == (2, "")
    assert err.startswith("nextclick: no Kafka broker answers (127.0.0.1:1: Connection refused)")
    assert err.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("stream.topics.create_topics", broken)
    monkeypatch.setattr(sys, "argv", ["nextclick", "topics"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("name", sorted(OURS | THEIRS.keys()))
def test_every_error_with_a_sentence_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(importlib.import_module(module), kind)
    assert issubclass(found, Exception)
    assert f"{found.__module__}.{found.__qualname__}" == name


def test_errors_of_the_clients_are_told_with_a_way_on() -> None:
    assert complaint(KafkaConnectionError("no broker")) == (
        "Kafka does not answer as it should (KafkaConnectionError: no broker); "
        "run `nextclick check`"
    )
    assert "Redis does not answer" in str(complaint(RedisConnectionError("refused")))
    assert complaint(ModuleNotFoundError(name="torch")) == (
        "the package torch is not installed; run: pip install 'nextclick[train]'"
    )
    assert complaint(ModuleNotFoundError(name="stream.nothing")) is None
    assert complaint(ValueError("anything")) is None


def test_check_says_what_is_wrong_and_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEXTCLICK_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("NEXTCLICK_KAFKA_TIMEOUT_S", "1")
    monkeypatch.setenv("NEXTCLICK_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    status, out, _ = typed(monkeypatch, capsys, "check", "--json")
    findings = {each["name"]: each for each in json.loads(out)["findings"]}
    assert status == 1
    wrong = {name for name, each in findings.items() if each["state"] == "wrong"}
    assert wrong == {"kafka", "redis", "bundle"}
    assert set(findings) - wrong == {"text encoder", "user ids"}
    assert "hunter2" not in out
    assert "make one with `nextclick train`" in findings["bundle"]["text"]


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = "torch", "onnxruntime", "faust", "kafka", "aiokafka", "redis", "pyarrow", "numpy"
    program = f"import sys, stream.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


ROOT = Path(__file__).parent.parent


def test_up_serves_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", [f"i{number}" for number in range(30)])
    (tmp_path / "items.jsonl").write_text('{"item_id": "i1"}\n{"item_id": "i2"}\n{"item_id": 3}\n')
    arguments = "up", "--workers", "2", "--provider", "cpu", "--bundle", "bundle"
    process = subprocess.Popen(
        [sys.executable, "-m", "stream.cli", *arguments, "--catalog", "items.jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        said = _read_until(process, "ready; Ctrl-C stops everything")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5, "a broker, a Redis, two workers and the API"
        (address,) = re.findall(r"console   (http://127\.0\.0\.1:\d+/console/)", said)
        assert "nextclick" in httpx.get(address, timeout=PATIENCE_S).text
        users = re.sub("console/$", "v1/users/nobody/recommendations", address)
        assert httpx.get(users, timeout=PATIENCE_S).status_code == 404
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.wait()
    assert "left out  items.jsonl:3: invalid" in said
    assert "catalogue 2 items, 1 rows left out" in said
    assert "KAFKA=127.0.0.1:" in said
    assert [child for child in children if child.is_running()] == []


def test_up_without_the_api_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "find_spec", lambda name: None)
    said = io.StringIO()
    cluster = LocalCluster(Settings(provider="cpu"))  # which would refuse to be asked anything
    up.start_console(cluster, Console(file=said))
    assert said.getvalue() == (
        "console   needs starlette, uvicorn, httptools; run: pip install 'nextclick[api]'\n"
    )


def test_up_stops_its_workers_when_it_is_killed(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", [f"i{number}" for number in range(30)])
    arguments = "up", "--workers", "1", "--provider", "cpu", "--bundle", "bundle"
    with subprocess.Popen(
        [sys.executable, "-m", "stream.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        _read_until(process, "ready; Ctrl-C stops everything")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4
        process.kill()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []
    assert len(gone) == len(children)


def _read_until(process: subprocess.Popen[str], line: str) -> str:
    """What it says up to and with the line; its end before that is a failure."""
    said = ""
    deadline = time.monotonic() + PATIENCE_S
    assert process.stdout is not None
    while line not in said:
        text = process.stdout.readline()
        assert text, f"it ended early and said: {said}"
        assert time.monotonic() < deadline
        said += text
    return said
