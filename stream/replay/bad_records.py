"""What a replay leaves out because it breaks the contract: counted, shown, and kept in a file."""

import json
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from stream.rows import BadRow


class BadRecord(NamedTuple):
    """A record of a topic that was left out."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    value: bytes | None

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}: {self.reason}: {self.detail}"


Bad = BadRow | BadRecord


class StrictError(RuntimeError):
    """A row or record breaks the contract, and none was to be left out."""


class BadPile:
    """A context manager that takes what is left out.

    Args:
        path: a JSON line is added to this file for each, with its place, reason and detail and what
            it was: as text, or in base64 where it is none. Only its owner may read it. None: no
            file.
        strict: raise at the first instead.
        show: called with each.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        strict: bool = False,
        show: Callable[[Bad], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._strict = strict
        self._show = show
        self._file: BinaryIO | None = None
        self.count = 0

    def __enter__(self) -> Self:
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
        """Take one. Raises StrictError where none is to be left out."""
        if self._strict:
            raise StrictError(f"{bad}; correct it, or leave it out by leaving out --strict")
        self.count += 1
        self._show(bad)
        if self.path is not None:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self._file = os.fdopen(number, "ab", buffering=0)
            self._file.write(_line(bad))


def _line(bad: Bad) -> bytes:
    fields: dict[str, Any] = {}
    for name, value in bad._asdict().items():
        if isinstance(value, bytes):
            try:
                fields[name] = value.decode()
            except UnicodeDecodeError:
                fields[f"{name}_base64"] = b64encode(value).decode()
        else:
            fields[name] = str(value) if isinstance(value, Path) else value
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
