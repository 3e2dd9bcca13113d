"""Folders that are whole or not there, whenever a process is killed, and shared by several."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

FOLDER = Path(".nextclick/replay")
"""Of what replays keep, unless they are told another."""
UNFINISHED = ".unfinished"
_LOCK = "lock"


class WorkFolder:
    """Makes folders below ``root``. What a killed process has left is removed by the next one."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def unfinished(self) -> Iterator["Unfinished"]:
        """A folder of this process, which goes at the end unless it is kept."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # nobody takes the new folder for a dead one's
            self._sweep()
            path = self._root / f"{os.getpid()}-{os.urandom(4).hex()}{UNFINISHED}"
            path.mkdir(0o700)
            alive = _locked(path, fcntl.LOCK_EX)
        try:
            yield Unfinished(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            if alive is not None:
                alive.close()

    def hold(self, name: str) -> "Held | None":
        """A kept folder, which nobody removes meanwhile; None where there is none."""
        path = self._root / name
        lock = _locked(path, fcntl.LOCK_SH)
        return None if lock is None else Held(path, lock)

    def remove(self, name: str) -> None:
        """Remove a kept folder, unless another process holds it: that one will do so."""
        path = self._root / name
        lock = _locked(path, fcntl.LOCK_EX)
        if lock is not None:
            with lock:
                # By another name at first: half of it must not be taken for the whole.
                gone = path.with_name(f"{name}-{os.urandom(4).hex()}{UNFINISHED}")
                path.rename(gone)
                shutil.rmtree(gone)

    def _sweep(self) -> None:
        for path in self._root.glob(f"*{UNFINISHED}"):
            if not (path / _LOCK).exists():
                shutil.rmtree(path, ignore_errors=True)
            elif (lock := _locked(path, fcntl.LOCK_EX)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                lock.close()


class Unfinished:
    """A folder in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, name: str) -> None:
        """Give it its name, unless another process has made such a folder meanwhile."""
        kept = self.path.with_name(name)
        try:
            self.path.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise


class Held:
    """A kept folder while it is in use."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock

    def __enter__(self) -> "Held":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()


def _locked(folder: Path, how: int) -> IO[bytes] | None:
    """The lock of a folder, until it is closed or the process ends; None: gone, or another's."""
    try:
        lock = (folder / _LOCK).open("ab" if folder.name.endswith(UNFINISHED) else "rb")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
