"""A worker process that is started, stopped or at work while Redis or Kafka is away."""

import asyncio
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings
from stream.worker_process import WorkerProcess
from tests.backends import Broker
from tests.crowd import GUARD_S, Crowd, fleet, start_worker
from tests.kafka_log import committed
from tests.shop import wait_until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.either_backend


@dataclass
class Scene:
    """Settings that lead through two proxies to the servers, and those that lead there at once."""

    direct: Settings
    proxied: Settings
    kafka: TcpProxy
    redis: TcpProxy
    folder: Path

    def metric(self, name: str) -> float | None:
        """What a worker tells at its metrics port; None where it does not yet."""
        url = f"http://127.0.0.1:{self.proxied.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0].split()[1]) if found else None

    async def comes_to(self, name: str, value: float) -> None:
        """Wait until the worker tells that: it may write its log before, and a look may fail."""
        await asyncio.to_thread(
            wait_until, lambda: self.metric(name) == value, f"{name} is {value:g}"
        )


@pytest.fixture
def scene(
    broker: Broker,
    redis_server: EmbeddedRedis,
    stream_settings: Settings,
    tmp_path: Path,
    free_port: int,
) -> Iterator[Scene]:
    def port(address: str) -> int:
        return int(address.rpartition(":")[2])

    with fleet(stream_settings, tmp_path, 0):
        pass  # a bundle and a catalogue, and no worker yet
    with TcpProxy(port(broker.bootstrap)) as kafka, TcpProxy(port(redis_server.address)) as redis:
        proxied = stream_settings.model_copy(
            update={
                "brokers": kafka.address,
                "redis_url": f"redis://{redis.address}/0",
                "redis_timeout_s": 1.0,
                "metrics_port": free_port,
            }
        )
        yield Scene(stream_settings, proxied, kafka, redis, tmp_path)


async def test_a_worker_outlasts_what_is_away_from_its_start_to_its_end(scene: Scene) -> None:
    scene.kafka.refuse()
    scene.redis.refuse()
    worker = start_worker(scene.proxied, scene.folder, "early")
    try:
        await asyncio.to_thread(
            wait_until, lambda: "waiting for redis" in worker.log.read_text(), "a wait for Redis"
        )
        await scene.comes_to("nextclick_ready", 0)
        scene.redis.accept()
        await asyncio.to_thread(
            wait_until, lambda: "waiting for kafka" in worker.log.read_text(), "a wait for Kafka"
        )
        await scene.comes_to('nextclick_waiting{part="kafka"}', 1)
        scene.kafka.accept()
        await asyncio.to_thread(worker.wait_ready)
        await scene.comes_to("nextclick_ready", 1)

        async with Crowd(scene.direct) as crowd:
            await crowd.click(2)
            await crowd.served()
            scene.redis.stall()
            places = await crowd.click()
            await scene.comes_to("nextclick_ready", 0)
            # Its batch has not ended: it is not acknowledged, and the stop does not wait for ever.
            assert await asyncio.to_thread(worker.stop) == 0
            topic, group = scene.direct.events_topic, scene.direct.group
            done = await committed(scene.direct.brokers, group, topic)
            assert all(done[partition] <= offset for partition, offset in places)

            scene.redis.resume()
            worker = start_worker(scene.proxied, scene.folder, "late")
            async with asyncio.timeout(GUARD_S):
                await crowd.served()
            await crowd.assert_right()
    finally:
        assert worker.stop() == 0


def test_a_worker_that_waits_at_its_start_can_be_stopped(scene: Scene) -> None:
    scene.kafka.refuse()
    worker = start_worker(scene.proxied, scene.folder, "stopped")
    try:
        wait_until(lambda: "waiting for kafka" in worker.log.read_text(), "a wait for Kafka")
    finally:
        status = worker.stop()
    assert status == 0, worker.last_words()


def test_a_wrong_password_ends_the_start_with_a_sentence(scene: Scene) -> None:
    settings = scene.direct.model_copy(
        update={"redis_url": scene.direct.redis_url.replace("redis://", "redis://who:what@")}
    )
    worker = WorkerProcess(settings, "stranger", scene.folder / "stranger.log")
    worker.start()
    wait_until(lambda: worker.exit_status is not None, "the worker ends")
    assert worker.stop() != 0
    assert "nextclick: " in worker.last_words()
    assert "password" in worker.last_words()
