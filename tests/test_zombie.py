"""A worker that is frozen past its session and wakes up still has a batch in its hands."""

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from serving.recommendation import Recommendation
from stream.settings import Settings
from stream.worker_process import WorkerProcess
from tests.crowd import GUARD_S, Crowd, fleet, start_worker
from tests.redis_server import RedisServer
from tests.shop import wait_until
from tests.tcp_proxy import TcpProxy

# The embedded broker needs half a minute until a member is gone.
pytestmark = pytest.mark.kafka


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy(int(redis_server.address.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def workers(
    stream_settings: Settings, tmp_path: Path, proxy: TcpProxy, free_port: int
) -> Iterator[list[WorkerProcess]]:
    """Two workers; the second one reaches Redis through the proxy, and tells its metrics."""
    changes = {"redis_url": f"redis://{proxy.address}/0", "metrics_port": free_port}
    with fleet(stream_settings, tmp_path, 1) as running:
        proxied = stream_settings.model_copy(update=changes)
        running.append(start_worker(proxied, tmp_path, "frozen"))
        running[-1].wait_ready()
        yield running


def decoded(port: int) -> int:
    """Clicks that a worker has taken into work, by its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        told = re.search(rb'^nextclick_events_total{kind="click"} (\d+)', answer.read(), re.M)
    return int(told[1]) if told else 0


def late(lists: Sequence[Recommendation]) -> int:
    """How many lists follow a newer one of their user."""
    newest: dict[str, int] = {}
    count = 0
    for each in lists:
        count += each.as_of.offset < newest.get(each.user_id, -1)
        newest[each.user_id] = max(each.as_of.offset, newest.get(each.user_id, -1))
    return count


async def test_a_frozen_worker_loses_nothing_and_overwrites_nothing_newer(
    workers: list[WorkerProcess], stream_settings: Settings, proxy: TcpProxy, free_port: int
) -> None:
    other, frozen = workers
    async with Crowd(stream_settings) as crowd:
        await crowd.click(3)
        await crowd.served()
        proxy.stall()
        done = decoded(free_port)
        await crowd.click()  # the second worker gets its share and waits for Redis with it
        await asyncio.to_thread(wait_until, lambda: decoded(free_port) > done, "it has its share")
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            await crowd.click(2)
            await crowd.served()  # by the other one alone: the session is over
            other.refuse_death()
            assert late(await crowd.lists()) == 0
        finally:
            proxy.resume()
            os.kill(frozen.pid, signal.SIGCONT)
        async with asyncio.timeout(GUARD_S):
            while not late(await crowd.lists()):  # what it had in hand is published now
                await asyncio.sleep(0.2)
        await crowd.assert_right()
        await crowd.served(await crowd.click(2))
        await crowd.assert_right()
