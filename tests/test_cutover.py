"""Cutover and rollback under a live stream: real workers, a rebalance, and one that is killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.generations import Generations
from serving.intake import decode
from serving.learning import learn
from stream.offsets import OffsetReader
from stream.replay.build import build
from stream.replay.compare import Comparing
from stream.replay.comparison import Comparison
from stream.replay.cutover import cutover, rollback
from stream.replay.generations import learning_parts, open_shadow
from stream.replay.topic_past import TopicPast
from stream.settings import Settings
from stream.topic_identity import topic_identity
from stream.worker_process import WorkerProcess
from tests.crowd import GUARD_S, Crowd, fleet, start_worker
from tests.kafka_log import read

pytestmark = pytest.mark.either_backend

LONE = 99


@pytest.fixture
def workers(stream_settings: Settings, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    with fleet(stream_settings, tmp_path, 2) as running:
        yield running


async def all_entered(settings: Settings) -> int:
    """Wait until the workers have taken up every partition with what is live; returns that."""
    parts = learning_parts(settings)
    try:
        async with OffsetReader(settings) as offsets:
            count = len(await offsets.partitions(settings.events_topic))
        generations = Generations(parts.store)
        live = (await generations.read()).live
        async with asyncio.timeout(GUARD_S):
            while len(await generations.entered(live)) < count:
                await asyncio.sleep(0.1)
        return live
    finally:
        await parts.store.redis.aclose()


async def compared(settings: Settings, generation: int) -> Comparison:
    """A generation beside that of somebody who has lived through the whole topic alone."""
    parts = learning_parts(settings)
    topic = settings.events_topic
    try:
        parts.store.topic_identities[topic] = await topic_identity(settings, topic)
        lone, one = parts.for_past(LONE), parts.for_past(generation)
        for records in (await read(settings.brokers, topic)).values():
            await learn(lone, decode(records, parts.now_ms())[0])
        return await Comparing((one.store, one.counts), (lone.store, lone.counts)).all()
    finally:
        await parts.store.redis.aclose()


async def assert_lived_through(settings: Settings, generation: int) -> None:
    found = await compared(settings, generation)
    assert found.profiles_equal and found.counts_equal
    assert found.is_equal, found


async def build_shadow(settings: Settings) -> None:
    async with open_shadow(settings, [settings.events_topic]) as shadow:
        past = TopicPast(settings, settings.events_topic)
        await build(shadow.parts, past, await shadow.positions(), keep=shadow.keep)


async def test_cutover_and_rollback_under_a_live_stream_while_partitions_move(
    workers: list[WorkerProcess], stream_settings: Settings, tmp_path: Path
) -> None:
    settings, stop = stream_settings, asyncio.Event()
    async with Crowd(settings) as crowd:
        await crowd.click(2)
        clicking = asyncio.create_task(crowd.click_on(stop, pause_s=0.2))
        await build_shadow(settings)
        leaving = workers.pop(0)
        leaving.request_stop()
        workers.append(start_worker(settings, tmp_path, "late"))
        flip = await cutover(settings)
        assert (flip.live, flip.previous) == (1, 0)
        assert await asyncio.to_thread(leaving.stop) == 0
        await asyncio.to_thread(workers[-1].wait_ready)
        assert await all_entered(settings) == 1
        stop.set()
        await clicking
        await crowd.served()
        await crowd.assert_right()
        await assert_lived_through(settings, 1)

        assert (await rollback(settings)).live == 0
        await crowd.click()
        await crowd.served()
        assert await all_entered(settings) == 0
        await crowd.assert_right()
        await assert_lived_through(settings, 0)


@pytest.mark.kafka  # the embedded broker needs half a minute until a member is gone
async def test_a_worker_is_killed_at_the_switch(
    workers: list[WorkerProcess], stream_settings: Settings
) -> None:
    settings = stream_settings
    async with Crowd(settings) as crowd:
        crowd.users = [f"other-{number}" for number in range(48)]
        await crowd.click(2)
        await build_shadow(settings)
        await crowd.click(2)
        flip = await cutover(settings)
        killed = workers.pop(0)
        os.kill(killed.pid, signal.SIGKILL)
        killed.stop()
        await crowd.click(2)
        await crowd.served()
        assert await all_entered(settings) == flip.live
        await crowd.assert_right()
        await assert_lived_through(settings, flip.live)
