"""A contender of a benchmark: a process of its own that answers JSON lines, one task each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import psutil

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ContenderError(RuntimeError):
    """A contender cannot do what it was asked for; the message says why."""


class Contender:
    """The near end: ``ask`` is one task; also a context manager that ends the process.

    Args:
        module: the process is ``python -m module *arguments``.
        environment: more variables; one thread for every mathematics library is the default.

    Raises:
        ContenderError: out of ``ask``; the process has ended or refuses.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] = ONE_THREAD,
    ) -> None:
        self.name = " ".join([module, *arguments[:1]])
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, **task: Any) -> dict[str, Any]:
        """The answer to one task."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContenderError(f"{self.name} has ended; its error stands above") from None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"{self.name} has ended; its error stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    @property
    def rss_mb(self) -> int:
        """Resident memory now."""
        return round(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer(
    handler: Callable[..., dict[str, Any]], *, refusals: tuple[type[Exception], ...] = ()
) -> None:
    """The far end: answer every line of standard input until it ends.

    Args:
        handler: takes a task's keys as keyword arguments.
        refusals: errors that are an answer (``ContenderError`` at the near end).
    """
    for line in sys.stdin:
        try:
            found = handler(**json.loads(line))
        except refusals as error:
            found = {"error": str(error)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
