"""Seconds until the survivor serves everything after one of two workers was killed under load.

    python -m benchmarks.recovery --json [--rounds 3] [--rate 400]

Two real workers on Apache Kafka share the partitions; one is killed with SIGKILL. The clock stops
when each partition has a list whose event was written after the kill. A new worker takes the place
of the dead one before the next round.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.servers import servers
from model.events import Click, encode_event
from model.items import Item
from serving.recommendation import Recommendation, decode_recommendation
from stream.ingest import ingest
from stream.kafka import consumer_arguments, producer_arguments
from stream.offsets import OffsetReader
from stream.settings import Settings
from stream.worker_process import WorkerProcess
from tests.tiny import tiny_bundle

USERS = 400
ITEMS = 1_000
TARGET_S = 15.0
GIVE_UP_S = 120.0
TICK_S = 0.02


async def click_on(settings: Settings, rate: float) -> None:
    """Write `rate` clicks a second until cancelled."""
    start = time.monotonic()
    async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
        for number in itertools.count():
            if (ahead := number / rate - (time.monotonic() - start)) > 0:
                await asyncio.sleep(max(ahead, TICK_S))
            now = time.time_ns()
            event = Click(
                event_id=f"{number}-{now}",
                user_id=f"user-{number % USERS}",
                ts=now // 1_000_000,
                item_id=f"item-{number % ITEMS}",
            )
            await producer.send(
                settings.events_topic, encode_event(event), key=event.user_id.encode()
            )


class Lists:
    """Follows the topic of the lists."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(**consumer_arguments(settings))

    async def open(self) -> None:
        """Begin at the present ends."""
        topic = self._settings.recommendations_topic
        async with OffsetReader(self._settings) as offsets:
            ends = await offsets.ends(await offsets.partitions(topic))
        await self._consumer.start()
        self._consumer.assign(list(ends))
        for place, end in ends.items():
            self._consumer.seek(place, end)

    async def partitions(self, condition: Callable[[Recommendation], bool]) -> float:
        """Seconds until each partition of the events has a list that meets the condition.

        Raises:
            TimeoutError: they never do.
        """
        start, seen = time.monotonic(), set[int]()
        async with asyncio.timeout(GIVE_UP_S):
            while len(seen) < self._settings.partitions:
                for records in (await self._consumer.getmany(timeout_ms=50)).values():
                    for record in records:
                        found = decode_recommendation(record.value)
                        if condition(found):
                            seen.add(found.as_of.partition)
        return time.monotonic() - start

    async def close(self) -> None:
        """Close the consumer."""
        await self._consumer.stop()


async def measure(settings: Settings, folder: Path, rounds: int, rate: float) -> list[float]:
    """Seconds of each round."""
    numbers = itertools.count()

    def started() -> WorkerProcess:
        name = f"worker-{next(numbers)}"
        worker = WorkerProcess(settings, name, folder / f"{name}.log")
        worker.start()
        return worker

    workers = [started(), started()]
    seconds: list[float] = []
    lists = Lists(settings)
    await lists.open()
    clicking = asyncio.create_task(click_on(settings, rate))
    try:
        for _ in range(rounds):
            for worker in workers:
                await asyncio.to_thread(worker.wait_ready)
            now = time.time_ns() // 1_000_000
            await lists.partitions(lambda found, since=now: found.ts > since)  # type: ignore[misc]
            killed = workers.pop(0)
            os.kill(killed.pid, signal.SIGKILL)
            now = time.time_ns() // 1_000_000
            seconds.append(
                await lists.partitions(lambda found, since=now: found.ts > since)  # type: ignore[misc]
            )
            killed.stop()
            workers.append(started())
    finally:
        clicking.cancel()
        await asyncio.gather(clicking, return_exceptions=True)
        await lists.close()
        for worker in workers:
            worker.request_stop()
        for worker in workers:
            worker.stop()
    return seconds


def main() -> None:
    """Run the rounds and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=400, help="clicks a second")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = [f"item-{number}" for number in range(ITEMS)]
        tiny_bundle(folder / "bundle", ids, length=50, top_k=100, dim=64, blocks=2)
        settings = Settings(bundle=folder / "bundle", provider="cpu")
        with servers(asked.broker, settings) as reached:
            items = [Item(item_id=each, title=each, category=("all",)) for each in ids]
            asyncio.run(ingest(reached, items))
            seconds = asyncio.run(measure(reached, folder, asked.rounds, asked.rate))
    figures = {
        "recovery_s_median": round(statistics.median(seconds), 2),
        "recovery_s_max": round(max(seconds), 2),
        "target_s": TARGET_S,
        "recovery_s": [round(each, 2) for each in seconds],
        "rounds": asked.rounds,
        "events_per_s": asked.rate,
        "partitions": reached.partitions,
        "workers": 2,
        "broker": asked.broker,
        "machine": f"{psutil.cpu_count()} cores, {platform.processor() or platform.machine()}",
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
