"""Folders that are whole or not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from stream.replay.work_folder import WorkFolder

KILLED = """
import os, signal, sys
from pathlib import Path
from stream.replay.work_folder import WorkFolder
with WorkFolder(Path(sys.argv[1])).unfinished() as unfinished:
    (unfinished.path / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def made(root: Path, name: str, content: str) -> None:
    """A kept folder with a file in it."""
    with WorkFolder(root).unfinished() as unfinished:
        (unfinished.path / "file").write_text(content)
        unfinished.keep(name)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    made(tmp_path, "a", "1")
    held = WorkFolder(tmp_path).hold("a")
    assert held is not None
    with held:
        assert (held.path / "file").read_text() == "1"


def test_what_is_not_kept_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), WorkFolder(tmp_path).unfinished() as unfinished:
        (unfinished.path / "file").touch()
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert WorkFolder(tmp_path).hold("a") is None


def test_the_first_of_two_that_make_the_same_is_kept(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    with work.unfinished() as one, work.unfinished() as two:
        assert one.path.is_dir(), "a folder in use was swept"
        for at, unfinished in enumerate((one, two)):
            (unfinished.path / "file").write_text(str(at))
            unfinished.keep("a")
    assert (tmp_path / "a" / "file").read_text() == "0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "lock"]


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, cwd=Path.cwd())
    assert [path.name for path in tmp_path.glob("*/half")] == ["half"]
    made(tmp_path, "a", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "lock"]


def test_what_another_holds_is_not_removed(tmp_path: Path) -> None:
    made(tmp_path, "a", "1")
    held = WorkFolder(tmp_path).hold("a")
    assert held is not None
    with held:
        WorkFolder(tmp_path).remove("a")
        assert (tmp_path / "a" / "file").read_text() == "1"
    WorkFolder(tmp_path).remove("a")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_removing_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    WorkFolder(tmp_path).remove("a")
    assert list(tmp_path.iterdir()) == []
