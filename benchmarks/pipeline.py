"""Events a second of the full path with one worker, beside a bare consume-decode-produce loop.

    python -m benchmarks.pipeline --json [--broker kafka|embedded] [--events 40000] [--rounds 3]

Both read the same backlog from the same broker, each in a process of its own, one after the other
in every round; medians and ratios come out. The network is pinned (2 blocks, d = 64, length 50,
12,102 items, untrained, one thread), so that figures of different days can be compared.
"""

import argparse
import asyncio
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from model.events import Click, encode_event
from model.items import Item
from stream.cluster import local_settings
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis
from stream.ingest import ingest
from stream.kafka import consumer_arguments, producer_arguments
from stream.offsets import OffsetReader
from stream.settings import Settings
from stream.topics import create_topics, plan_topics
from stream.worker_process import WorkerProcess
from tests.tiny import tiny_bundle

ITEM_COUNT = 12_102
USERS = 20_000
SEED = 7


@contextmanager
def broker_and_redis(kind: str, settings: Settings) -> Iterator[Settings]:
    """Settings that reach a fresh broker with all topics, and a fresh Redis."""
    with EmbeddedRedis() as redis:
        if kind == "embedded":
            topics = {plan.name: plan.partitions for plan in plan_topics(settings)}
            with EmbeddedBroker(topics) as broker:
                yield local_settings(settings, broker.bootstrap, redis.url)
        else:
            from tests.apache_kafka import ApacheKafka, fetch_kafka

            cache = Path(".nextclick/kafka")
            with (
                tempfile.TemporaryDirectory() as folder,
                ApacheKafka(fetch_kafka(cache), Path(folder)) as kafka,
            ):
                reached = settings.model_copy(
                    update={"brokers": kafka.bootstrap, "redis_url": redis.url}
                )
                create_topics(reached)
                yield reached


async def fill(settings: Settings, count: int, first: int) -> None:
    """Write a backlog of clicks: many users, items by a long-tailed law."""
    chance = random.Random(SEED + first)
    async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
        pending = []
        for number in range(first, first + count):
            user = f"user-{chance.randrange(USERS)}"
            event = Click(
                event_id=f"event-{number}",
                user_id=user,
                ts=int(time.time() * 1000),
                item_id=f"item-{int(ITEM_COUNT * chance.random() ** 3)}",
            )
            pending.append(
                await producer.send(settings.events_topic, encode_event(event), key=user.encode())
            )
        await asyncio.gather(*pending)


async def watch(settings: Settings, topic: str, starts: dict[TopicPartition, int]) -> float:
    """Seconds from the first to the last record that a contender writes; 5 quiet seconds end it."""
    consumer = AIOKafkaConsumer(**consumer_arguments(settings))
    await consumer.start()
    try:
        consumer.assign(list(starts))
        for place, offset in starts.items():
            consumer.seek(place, offset)
        first = last = 0.0
        while not first or time.monotonic() - last < 5.0:
            if any((await consumer.getmany(timeout_ms=100)).values()):
                last = time.monotonic()
                first = first or last
        return last - first
    finally:
        await consumer.stop()


async def ends(settings: Settings, topic: str) -> dict[TopicPartition, int]:
    """Where a topic ends now."""
    async with OffsetReader(settings) as offsets:
        return await offsets.ends(await offsets.partitions(topic))


def full_path(settings: Settings, folder: Path, number: int) -> tuple[float, float]:
    """Seconds and MB of one worker over the backlog."""
    starts = asyncio.run(ends(settings, settings.recommendations_topic))
    worker = WorkerProcess(settings, "worker", folder / f"worker-{number}.log")
    worker.start()
    try:
        seconds = asyncio.run(watch(settings, settings.recommendations_topic, starts))
        return seconds, psutil.Process(worker.pid).memory_info().rss / 2**20
    finally:
        worker.stop()


def bare_loop(settings: Settings, starts: dict[TopicPartition, int]) -> tuple[float, float]:
    """Seconds and MB of a bare aiokafka loop over the same backlog."""
    places = json.dumps([[place.partition, offset] for place, offset in starts.items()])
    outputs = asyncio.run(ends(settings, settings.dlq_topic))
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_loop", settings.brokers, settings.events_topic,
         settings.dlq_topic, places],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    try:
        seconds = asyncio.run(watch(settings, settings.dlq_topic, outputs))
        return seconds, psutil.Process(child.pid).memory_info().rss / 2**20
    finally:
        child.terminate()
        child.wait()


def main() -> None:
    """Run the rounds and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = folder / "bundle"
        ids = [f"item-{number}" for number in range(ITEM_COUNT)]
        tiny_bundle(bundle, ids, length=50, top_k=100, dim=64, blocks=2)
        settings = Settings(bundle=bundle, provider="cpu")
        with broker_and_redis(asked.broker, settings) as reached:
            items = [Item(item_id=each, title=each, category=("all",)) for each in ids]
            asyncio.run(ingest(reached, items))
            full: list[tuple[float, float]] = []
            bare: list[tuple[float, float]] = []
            for number in range(asked.rounds):
                starts = asyncio.run(ends(reached, reached.events_topic))
                asyncio.run(fill(reached, asked.events, number * asked.events))
                bare.append(bare_loop(reached, starts))
                full.append(full_path(reached, folder, number))
    full_rate = statistics.median(asked.events / seconds for seconds, _ in full)
    bare_rate = statistics.median(asked.events / seconds for seconds, _ in bare)
    figures = {
        "full_vs_bare_aiokafka": round(full_rate / bare_rate, 4),
        "events_per_s": round(full_rate),
        "bare_aiokafka_events_per_s": round(bare_rate),
        "rss_mb": round(max(megabytes for _, megabytes in full)),
        "bare_rss_mb": round(max(megabytes for _, megabytes in bare)),
        "events": asked.events,
        "rounds": asked.rounds,
        "broker": asked.broker,
        "provider": "cpu",
        "seed": SEED,
        "machine": f"{psutil.cpu_count()} cores, {platform.processor() or platform.machine()}",
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
