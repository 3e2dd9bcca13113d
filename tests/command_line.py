"""``nextclick`` as a person types it, in this process or in one of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from stream import cli
from stream.settings import Settings, child_environment


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``nextclick ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["nextclick", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    status = caught.value.code
    assert isinstance(status, int)
    return status, captured.out, captured.err


def ran(*arguments: str, status: int = 0, answer: str = "") -> str:
    """Standard output of a verb that was run in this process and ended with this status."""
    done = CliRunner().invoke(cli.app, list(arguments), input=answer)
    assert done.exit_code == status, (done.output, done.exception)
    return done.stdout


def typed_for_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, dict[str, Any], str]:
    """The same, the JSON on standard output read; empty where there is none."""
    status, out, err = typed(monkeypatch, capsys, *arguments)
    return status, json.loads(out or "{}"), err


def ended(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """A process with these settings, and nothing on its standard input, that has ended."""
    return subprocess.run(
        [sys.executable, "-m", "stream.cli", *words],
        env=child_environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
