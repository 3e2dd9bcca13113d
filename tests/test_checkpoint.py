"""The file that remembers how far a replay is."""

from pathlib import Path

import pytest

from stream.replay.checkpoint import Checkpoint, default_path, is_held
from stream.replay.past import ReplayError

WORK = {"reads": {"topic": "events"}, "writes": "events"}


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    with Checkpoint(path, WORK) as first:
        assert first.told().endswith(": new")
        first.notes = {"ranges": {"0": [3, 9]}}
        first.keep({"events:0": 5}, 2)
    second = Checkpoint(path, WORK)
    assert (second.position, second.notes) == ({"events:0": 5}, {"ranges": {"0": [3, 9]}})
    assert second.told().endswith(": goes on where it was")
    with second:
        second.complete()
    third = Checkpoint(path, WORK)
    assert third.is_complete
    assert third.position == {"events:0": 5}


def test_who_waited_for_another_goes_on_where_that_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "s"
    waiting = Checkpoint(path, WORK)
    with Checkpoint(path, WORK) as running:
        running.keep({"events:0": 5}, 5)
    with waiting:
        assert waiting.position == {"events:0": 5}


def test_a_running_replay_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not is_held(path)
    with Checkpoint(path, WORK) as running:
        running.keep({"events:0": 5}, 5)
        assert is_held(path)
    assert not is_held(path)


def test_again_forgets(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "s", WORK) as checkpoint:
        checkpoint.keep({"events:0": 5}, 5)
    assert Checkpoint(tmp_path / "s", WORK, again=True).position == {}


def test_another_work_has_another_file(tmp_path: Path) -> None:
    assert default_path(WORK) == default_path(dict(reversed(WORK.items())))
    assert default_path(WORK) != default_path(WORK | {"writes": "others"})


def test_a_crash_while_it_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(number: int) -> None:
        raise OSError(28, "No space left on device")

    with Checkpoint(tmp_path / "s", WORK) as checkpoint:
        checkpoint.keep({"events:0": 5}, 5)
        monkeypatch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.keep({"events:0": 6}, 6)
    assert Checkpoint(tmp_path / "s", WORK).position == {"events:0": 5}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "cannot be read as the state of a replay"),
        (b"[]", "is no state of a replay that this version knows"),
        (b'{"version": 2}', "is no state of a replay that this version knows"),
        (b'{"version": 1, "work": {}}', "is no state of a replay that this version knows"),
        (b"our accounts, 2026\n", "cannot be read as the state of a replay"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_is_no_state_is_refused_and_never_written_over(
    tmp_path: Path, content: bytes, sentence: str, again: bool
) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(ReplayError, match=sentence):
        Checkpoint(tmp_path / "s", WORK, again=again)
    assert (tmp_path / "s").read_bytes() == content


def test_the_state_of_another_replay_is_taken_over_only_when_told_to(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "s", WORK | {"writes": "others"}) as checkpoint:
        checkpoint.keep({"events:0": 5}, 5)
    with pytest.raises(ReplayError, match="is the state of another replay"):
        Checkpoint(tmp_path / "s", WORK)
    assert Checkpoint(tmp_path / "s", WORK, again=True).position == {}
