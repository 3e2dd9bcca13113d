"""What a replay leaves out: counted, shown, and kept in a file (``stream.replay.bad_records``)."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from stream.replay.bad_records import Bad, bad_line
from stream.rows import DamagedFileError, RowsError

ALIKE = 3
"""Shown of those that have the same fault: a wrong mapping has one for all records."""
MOST_FAULTS = 1_000
"""Remembered; with values in them they are without end."""


class StrictError(RuntimeError):
    """A row or record breaks the contract, and none was to be left out."""


class BadPile:
    """A context manager that takes what is left out.

    Args:
        path: file for it, which only its owner may read; None: no file. It is opened when there is
            something to keep.
        strict: raise at the first instead.
        anew: begin the file anew; else what is left out is added to it.
        show: called with each that is not like several before, and with each file that is damaged.

    Raises:
        RowsError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        strict: bool = False,
        anew: bool = False,
        show: Callable[[Bad | DamagedFileError], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._strict = strict
        self._how = os.O_TRUNC if anew else os.O_APPEND
        self._show = show
        self._file: BinaryIO | None = None
        self.count = 0
        self._alike: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        if self.path is not None:
            _refuse_unwritable(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def report(self, bad: Bad) -> None:
        """Take one. Raises StrictError where none is to be left out, and RowsError."""
        if self._strict:
            raise StrictError(f"{bad}; correct it, or leave it out by leaving out --strict")
        self.count += 1
        if self._is_news(bad):
            self._show(bad)
        if self.path is not None:
            try:
                if self._file is None:
                    self._file = self._opened(self.path)
                self._file.write(bad_line(bad))
            except OSError as error:
                raise _unwritable(self.path, error.strerror or str(error)) from None

    def _is_news(self, bad: Bad) -> bool:
        fault = bad.reason, bad.detail
        if fault not in self._alike and len(self._alike) == MOST_FAULTS:
            return True
        self._alike[fault] += 1
        return self._alike[fault] <= ALIKE

    def damage(self, error: DamagedFileError) -> None:
        """Take what stands before a damage for the whole file; raises it where that is strict."""
        if self._strict:
            raise error
        self._show(error)

    def _opened(self, path: Path) -> BinaryIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | self._how, 0o600)
        return os.fdopen(number, "wb", buffering=0)


def _refuse_unwritable(path: Path) -> None:
    """Before hours of reading; and what holds something else is not written over."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise _unwritable(path, f"{folder} is no folder, or none to write in")
    if path.exists():
        with path.open("rb") as file:
            first = file.readline()
        try:
            is_ours = not first or {"reason", "detail"} <= {*msgspec.json.decode(first, type=dict)}
        except (msgspec.DecodeError, UnicodeDecodeError):
            is_ours = False
        if not is_ours:
            raise _unwritable(path, "it holds something else")


def _unwritable(path: Path, why: str) -> RowsError:
    return RowsError(f"{path} cannot be written ({why}); name another file with --bad-rows")
