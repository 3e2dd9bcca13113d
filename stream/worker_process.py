"""A worker in a process of its own: how its owner starts it and how it knows its owner is gone."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from stream.cli_output import MENDABLE
from stream.settings import Settings, child_environment

READY_LINE = "nextclick worker ready"
JOINED_LINE = "Worker ready"
"""Faust's own, once the group has given this member its partitions."""
READY_S = 180.0
"""A slow disk, a CUDA session and a large catalogue; a warm start takes 4 s."""
_ERROR_LINE = re.compile(r"nextclick: |([A-Za-z_]+\.)*[A-Za-z]+(Error|Exception): ")
STOP_S = 30.0
"""A worker ends its micro-batch and commits: a second, and more while Redis is away."""


class WorkerError(RuntimeError):
    """A worker did not start or has died; the message holds its last words."""


class WorkerProcess:
    """``nextclick worker`` as a child process, with its output in a file.

    Ctrl-C in the terminal does not reach it, so that its owner can stop things in order. When the
    owner dies, however that comes about, the pipe between them ends and the worker stops itself.
    """

    def __init__(self, settings: Settings, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process and return at once."""
        self._is_stopping = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).resolve().parent.parent)
        environment = child_environment(self._settings)
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}:{inherited}" if inherited else root
        self._output = self.log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "worker", "--follow-owner"],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def wait_ready(self) -> None:
        """Return once it has read the catalogue and has its partitions. Raises WorkerError."""
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            self.refuse_death()
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"{self.name} is not ready after {READY_S:.0f} s; see {self.log}, which says: "
                    f"{self.last_words()}"
                )
            time.sleep(0.1)

    def refuse_death(self) -> None:
        """Raise WorkerError with its last words where it is not running any more."""
        if self.exit_status is not None:
            raise WorkerError(
                f"{self.name} ended with status {self.exit_status}; see {self.log}, which says: "
                f"{self.last_words()}"
            )

    def last_words(self) -> str:
        """The last errors in its output, or else its end."""
        lines = self.log.read_text(errors="replace").rstrip().splitlines()
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return "\n".join(errors[-3:] or lines[-10:])

    def request_stop(self) -> None:
        """Ask it to finish (SIGTERM) and return at once."""
        # Once: a second signal would meet a worker that has put its handlers away, and kill it.
        if self._process is not None and not self._is_stopping and self._process.poll() is None:
            self._is_stopping = True
            self._process.terminate()

    def stop(self) -> int | None:
        """Ask it to finish and wait until it is gone; returns its exit status."""
        process = self._process
        if process is None:
            return None
        self.request_stop()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if self._output is not None:
            self._output.close()
        return process.returncode

    def _is_ready(self) -> bool:
        text = self.log.read_text(errors="replace")
        return READY_LINE in text and JOINED_LINE in text


def run_worker(settings: Settings, *, follow_owner: bool) -> None:
    """Run ``faust -A stream.app worker`` in this process until a signal ends it.

    What a person has to mend ends it with status 2, as any verb.
    """
    if follow_owner:
        threading.Thread(target=_stop_without_owner, daemon=True).start()
    from faust.cli.faust import cli

    # Faust's web server has a fixed port, which a second worker could not open.
    arguments = ["-A", "stream.app", "worker", "--without-web"]
    arguments += ["--loglevel", settings.log_level.lower()]
    try:
        cli.main(args=arguments, prog_name="nextclick worker")
    except SystemExit as end:
        if isinstance(end.code, str):  # the sentence of `stream.worker`
            sys.stderr.write(f"{end.code}\n")
            end.code = MENDABLE
        raise


def _stop_without_owner() -> None:
    """Standard input ends with the process that holds its other end."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os._exit(1)
