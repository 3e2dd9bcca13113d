"""The life of a server that belongs to one process of ours: it dies with its owner, always.

`embedded_broker.EmbeddedBroker` and `embedded_redis.EmbeddedRedis` are such servers. Each is a
child process that says ``ready ADDRESS`` on its standard output and then serves until its standard
input ends. Three ways lead to that end, so that no process and no port outlives the owner:

1. `EmbeddedServer.stop` (also at the end of a `with` block) closes the pipe;
2. an owner that dies, by SIGKILL too, has its end of the pipe closed by the kernel;
3. where a forked sibling still holds that end, the kernel signals the child at the owner's death
   (PR_SET_PDEATHSIG, see `outlive_nobody`).

The child has a session of its own and ignores SIGINT: Ctrl-C in the terminal reaches the owner
only, which can then finish its work against a living server and stop it afterwards. Linux only.
"""

import ctypes
import importlib.util
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn, Self

START_SECONDS = 60.0  # a cold disk and a busy machine; a warm start takes .3 s
STOP_SECONDS = 15.0  # more than FLUSH_SECONDS
FLUSH_SECONDS = 10.0  # what a kept server gets to write its files before it is killed
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class EmbeddedError(RuntimeError):
    """An embedded server cannot start, has died, or was asked for what it cannot do."""


class EmbeddedServer:
    """A server in a child process, bound to 127.0.0.1; also a context manager.

    Args:
        module: the child is ``python -m module *arguments``.
        package: the import that the child needs, checked before it is started.
    """

    def __init__(self, module: str, package: str | None, *arguments: str) -> None:
        self._module = module
        self._package = package
        self._arguments = list(arguments)
        self._address = ""
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    @property
    def address(self) -> str:
        """``127.0.0.1:port``; raises `EmbeddedError` while the server is not running."""
        self._running()
        return self._address

    @property
    def pid(self) -> int:
        """Id of the child process; raises `EmbeddedError` while there is none."""
        return self._running().pid

    def start(self) -> Self:
        """Start the server and return when it answers; raises `EmbeddedError` with the reason."""
        if self._process is not None:
            raise EmbeddedError(f"{type(self).__name__} is already running at {self._address}.")
        if self._package is not None and importlib.util.find_spec(self._package) is None:
            raise EmbeddedError(
                f"{type(self).__name__} needs the package {self._package}, which is not installed."
                " Install it: pip install 'nextclick[embedded]'"
            )
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (see stop)
        root = str(Path(__file__).resolve().parent.parent)
        inherited = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{root}:{inherited}" if inherited else root},
            start_new_session=True,
        )
        try:
            self._address = self._reply("ready")
        except BaseException:  # Ctrl-C too: nothing may stay behind
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and wait until it is gone; does nothing where none is running."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=STOP_SECONDS)  # closes its standard input first
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.communicate()
            if self._errors is not None:
                self._errors.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self, *words: str) -> str:
        """Send one line to the child; returns what follows ``done`` in its answer."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(" ".join(words) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise EmbeddedError(self._obituary()) from None
        return self._reply("done")

    def _reply(self, expected: str) -> str:
        stdout = self._running().stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], START_SECONDS)
        if not readable:
            raise EmbeddedError(
                f"{self._module} said nothing for {START_SECONDS:.0f} s. Is the machine overloaded?"
            )
        word, _, text = stdout.readline().rstrip("\n").partition(" ")
        if word == expected:
            return text
        raise EmbeddedError(text if word == "error" else self._obituary())

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise EmbeddedError(f"{type(self).__name__} is not running: call start() first.")
        return self._process

    def _obituary(self) -> str:
        assert self._errors is not None
        code = self._running().wait(STOP_SECONDS)
        self._errors.seek(0)
        last_words = self._errors.read()[-2000:].strip() or "nothing"
        return f"{self._module} ended with status {code} and wrote: {last_words}"


class KeptServer(EmbeddedServer):
    """A foreign program with a keeper of ours between it and the owner (see `keep`)."""

    @property
    def server_pid(self) -> int:
        """Id of the program's own process; `pid` is its keeper's."""
        return int(self._command("pid"))

    def kill(self) -> None:
        """SIGKILL the program, as a crash would: what it had not yet written is lost."""
        os.kill(self.server_pid, signal.SIGKILL)
        self.stop()


def outlive_nobody() -> None:
    """In the child: ignore Ctrl-C and leave when the owner dies.

    The kernel sends its signal at the end of the owner's *thread* that forked us. Whether the
    owner as a whole is gone shows in the parent's id.
    """
    owner = os.getppid()

    def leave_if_orphan(_number: int, _frame: FrameType | None) -> None:
        if os.getppid() != owner:
            sys.exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, leave_if_orphan)
    die_with_parent(signal.SIGUSR1)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send us signal `number` when our parent dies."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise EmbeddedError(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")


def keep(server: subprocess.Popen[bytes], address: str) -> NoReturn:
    """In the child: be the keeper of a foreign program, which cannot watch our owner itself.

    A line of the owner asks for the program's process id. Start the program with `die_with_parent`
    for a `preexec_fn`, while the keeper has a single thread.
    """

    def end() -> None:
        server.terminate()
        try:
            server.wait(FLUSH_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def leave_with_owner() -> None:
        for _ in sys.stdin:
            say("done", str(server.pid))
        end()

    threading.Thread(target=leave_with_owner, daemon=True).start()
    say("ready", address)
    try:
        sys.exit(abs(server.wait()))
    finally:
        end()


def say(word: str, text: str = "") -> None:
    """In the child: one line to the owner, ``ready``, ``done`` or ``error`` and a text."""
    sys.stdout.write(f"{word} {' '.join(text.split())}\n")
    sys.stdout.flush()
