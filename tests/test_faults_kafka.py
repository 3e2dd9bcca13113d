"""Real workers on Apache Kafka while it is killed, stopped and emptied by compaction."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.settings import Settings
from stream.topics import create_topics
from stream.worker_process import WorkerProcess
from tests.apache_kafka import ApacheKafka
from tests.crowd import Crowd, assert_in_order, commits, fleet, start_worker
from tests.redis_server import RedisServer

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka(kafka_classpath: Path, tmp_path: Path) -> Iterator[ApacheKafka]:
    """A Kafka of the test's own: it will not survive."""
    with ApacheKafka(kafka_classpath, tmp_path / "kafka") as kafka:
        yield kafka


@pytest.fixture
def settings(kafka: ApacheKafka, tmp_path: Path) -> Iterator[Settings]:
    with RedisServer() as redis:
        settings = Settings(
            brokers=kafka.bootstrap,
            redis_url=redis.url,
            bundle=tmp_path / "bundle",
            provider="cpu",
            partitions=6,
            kafka_timeout_s=5,
        )
        create_topics(settings)
        yield settings


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    with fleet(settings, tmp_path, 2) as running:
        yield running


async def assert_nothing_was_lost(crowd: Crowd, settings: Settings) -> None:
    await crowd.served()
    await crowd.assert_right()
    for partition, offsets in (await commits(settings)).items():
        assert offsets == sorted(offsets), f"partition {partition} was committed backwards"


@pytest.mark.parametrize("away_s", [0, 15])
async def test_a_broker_that_is_killed_and_started_again(
    workers: list[WorkerProcess], kafka: ApacheKafka, settings: Settings, away_s: float
) -> None:
    async with Crowd(settings) as crowd:
        stop = asyncio.Event()
        clicking = asyncio.create_task(crowd.click_on(stop))
        await asyncio.sleep(3)
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(away_s)  # longer than a session: the group has to form again
        await asyncio.to_thread(kafka.start)
        await asyncio.sleep(3)
        stop.set()
        await clicking
        await assert_nothing_was_lost(crowd, settings)
        assert_in_order(await crowd.lists())


async def test_a_member_that_is_killed_under_load(
    workers: list[WorkerProcess], settings: Settings, tmp_path: Path
) -> None:
    async with Crowd(settings) as crowd:
        stop = asyncio.Event()
        clicking = asyncio.create_task(crowd.click_on(stop))
        await asyncio.sleep(2)
        killed = workers.pop(0)
        os.kill(killed.pid, signal.SIGKILL)
        killed.stop()
        await crowd.served(await crowd.click())  # by the survivor, in all partitions
        workers.append(start_worker(settings, tmp_path, "third"))
        await asyncio.to_thread(workers[-1].wait_ready)
        leaving = workers.pop(0)
        assert await asyncio.to_thread(leaving.stop) == 0  # in the middle of the stream
        stop.set()
        await clicking
        await assert_nothing_was_lost(crowd, settings)
        assert_in_order(await crowd.lists())


async def test_workers_can_be_stopped_while_kafka_is_away(
    workers: list[WorkerProcess], kafka: ApacheKafka, settings: Settings, tmp_path: Path
) -> None:
    async with Crowd(settings) as crowd:
        await crowd.click(2)
        await crowd.served()
        await crowd.click()
        await asyncio.to_thread(kafka.kill)
        for worker in workers:
            worker.request_stop()
        statuses = [await asyncio.to_thread(worker.stop) for worker in workers]
        assert statuses == [0, 0], "killed after a vain wait"
        workers.clear()
        await asyncio.to_thread(kafka.start)
        workers.append(start_worker(settings, tmp_path, "next"))
        await assert_nothing_was_lost(crowd, settings)
