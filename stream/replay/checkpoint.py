"""How far a replay into the topic has come, in a local file: where the same command goes on."""

import fcntl
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stream.replay.lag_gate import ReplayError
from stream.replay.past import Position

FOLDER = Path(".nextclick/replay")
VERSION = 1


def default_path(work: Mapping[str, Any]) -> Path:
    """Where the state of a replay is kept that was not told: named by a digest of what it does."""
    digest = sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]
    return FOLDER / f"{digest}.json"


class Checkpoint:
    """A context manager: the file, held against a second replay of the same state.

    Args:
        path: of the file; it is made when there is something to keep.
        work: what is read and written, of JSON values; a file of other work is refused.
        again: forget what it says and begin anew.

    Raises:
        ReplayError: the file is of another replay, is damaged, or is held by a running one.
    """

    def __init__(self, path: Path, work: Mapping[str, Any], *, again: bool = False) -> None:
        self.path = path
        self._work = dict(work)
        self._lock = -1
        self.position: Position = {}
        """All before it is with the broker."""
        self.notes: dict[str, Any] = {}
        """What the replay wants to find again, of JSON values."""
        self.is_complete = False
        if not again:
            self._read()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ReplayError(
                f"another replay is at work on {self.path}; wait for it, or give this one a --state"
                " of its own"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def keep(self, position: Position) -> None:
        """Store a position. The file is the old one or the new one, whatever happens meanwhile."""
        self.position = dict(position)
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

    def _read(self) -> None:
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise ReplayError(
                f"{self.path} cannot be read as the state of a replay ({error}); remove it to begin"
                " anew"
            ) from None
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise ReplayError(
                f"{self.path} is no state of a replay that this version knows; remove it to begin "
                "anew"
            )
        if found["work"] != self._work:
            raise ReplayError(
                f"{self.path} is the state of another replay; name another --state, or begin this "
                "one anew with --again"
            )
        self.position, self.notes = found["position"], found["notes"]
        self.is_complete = found["complete"]

    def _write(self) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        state = {
            "version": VERSION,
            "work": self._work,
            "position": self.position,
            "notes": self.notes,
            "complete": self.is_complete,
        }
        with new.open("w") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
