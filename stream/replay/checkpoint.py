"""How far a replay into the topic has come, in a local file: where the same command goes on."""

import fcntl
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from stream.replay.past import Position, ReplayError
from stream.replay.work_folder import FOLDER


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the file."""

    version: Literal[1]
    work: dict[str, Any]
    """What is read and written."""
    position: dict[str, int]
    """All before it is with the broker."""
    done: int = 0
    """Records of the source before the position."""
    notes: dict[str, Any]
    """What the replay wants to find again."""
    complete: bool


def default_path(work: Mapping[str, Any]) -> Path:
    """Where the state of a replay is kept that was not told: named by a digest of what it does."""
    digest = sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]
    return FOLDER / f"{digest}.json"


def read_state(path: Path) -> State | None:
    """What a file says; None where there is none. Raises ReplayError: it is no such file."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReplayError(
            f"{path} cannot be read as the state of a replay ({error}); name another --state, or "
            "remove it to begin anew"
        ) from None
    try:
        return msgspec.convert(found, State)
    except msgspec.ValidationError:
        raise ReplayError(
            f"{path} is no state of a replay that this version knows; name another --state, or "
            "remove it to begin anew"
        ) from None


def is_held(path: Path) -> bool:
    """Whether a replay is at work on a state."""
    try:
        lock = os.open(_lock_of(path), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


class Checkpoint:
    """A context manager: the file, held against a second replay of the same state.

    Args:
        path: of the file; it is made when there is something to keep.
        work: what is read and written, of JSON values; a file of other work is refused.
        again: forget what it says and begin anew, also where it is of other work.

    Raises:
        ReplayError: the file is of another replay or of none, is damaged, or is held by a running
            one.
    """

    def __init__(self, path: Path, work: Mapping[str, Any], *, again: bool = False) -> None:
        self.path = path
        self._work = dict(work)
        self._lock = -1
        self.position: Position = {}
        """All before it is with the broker."""
        self.done = 0
        """Records before it."""
        self.notes: dict[str, Any] = {}
        """What the replay wants to find again, of JSON values."""
        self.is_complete = False
        self._again = again
        self._look()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(_lock_of(self.path), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ReplayError(
                f"another replay is at work on {self.path}; wait for it, or give this one a --state"
                " of its own"
            ) from None
        self._look()  # one that has just ended may have got further
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def keep(self, position: Position, done: int) -> None:
        """Store a position, before which the source has ``done`` records.

        The file is the old one or the new one, whatever happens meanwhile.
        """
        self.position, self.done = dict(position), done
        self._write()

    def complete(self) -> None:
        """Note that there is nothing left to do."""
        self.is_complete = True
        self._write()

    def told(self) -> str:
        """For a person."""
        if self.is_complete:
            return f"{self.path}: complete"
        if self.position:
            return f"{self.path}: goes on where it was"
        return f"{self.path}: new"

    def _look(self) -> None:
        # Also to begin anew: what is none of ours is not written over.
        found = read_state(self.path)
        if found is None or self._again:
            return
        if found.work != self._work:
            raise ReplayError(
                f"{self.path} is the state of another replay; name another --state, or begin this "
                "one anew with --again"
            )
        self.position, self.done, self.notes = found.position, found.done, found.notes
        self.is_complete = found.complete

    def _write(self) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        state = State(
            version=1,
            work=self._work,
            position=dict(self.position),
            done=self.done,
            notes=self.notes,
            complete=self.is_complete,
        )
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


def _lock_of(path: Path) -> str:
    return f"{path}.lock"
