"""One turn of ``benchmarks.replay`` in a process of its own: a build, or a bare consumer.

    python -m benchmarks.replay_turn NAME SETTINGS EVENTS [PARQUET]

Events a second count from the first batch that is asked for to the last one learnt; the answer is
one JSON object.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition
from kafka import KafkaConsumer, TopicPartition

from model.events import decode_event
from stream.kafka import kafka_python_reader_arguments
from stream.replay.build import build
from stream.replay.file_past import FilePast
from stream.replay.past import Past
from stream.replay.topic_past import TopicPast
from stream.rows import BadRow
from stream.settings import Settings
from tests.parts import NOW, open_parts

AT_ONCE = 10_000


def refuse(row: BadRow) -> None:
    """Bad data would make bad figures."""
    raise SystemExit(str(row))


async def built(settings: Settings, past: Past) -> dict[str, Any]:
    """A build, and what Redis spends on it."""
    async with open_parts(settings.redis_url) as parts:
        before = await parts.store.redis.info("cpu")
        await build(parts, past, {})
        after = await parts.store.redis.info("cpu")
    names = ("used_cpu_user", "used_cpu_sys")
    return {"redis_cpu_s": sum(after[name] - before[name] for name in names)}


def read_by_kafka_python(settings: Settings, events: int) -> None:
    """Fetch and decode all events, with the client and the fetches of the product's reader."""
    consumer = KafkaConsumer(**kafka_python_reader_arguments(settings))
    topic = settings.events_topic
    places = [TopicPartition(topic, each) for each in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(places)
    consumer.seek_to_beginning()
    read = 0
    while read < events:
        for records in consumer.poll(1_000, max_records=AT_ONCE).values():
            for record in records:
                decode_event(record.value, NOW)
            read += len(records)
    consumer.close()


def read_by_confluent(settings: Settings, events: int) -> None:
    """The same by confluent-kafka."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": "benchmarks-replay",
            "enable.auto.commit": False,
        }
    )
    topic = settings.events_topic
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([ConfluentPartition(topic, each, 0) for each in partitions])
    read = 0
    while read < events:
        for record in consumer.consume(AT_ONCE, timeout=1):
            decode_event(record.value(), NOW)
            read += 1
    consumer.close()


def turn(name: str, settings: Settings, events: int, parquet: Path) -> dict[str, Any]:
    """What one contender does, and its figures."""
    start, spent = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if name == "kafka":
        found = asyncio.run(built(settings, TopicPast(settings)))
    elif name == "parquet":
        with TemporaryDirectory() as folder:
            past = FilePast([parquet], refuse, folder=Path(folder))
            found = asyncio.run(built(settings, past))
    elif name == "kafka_python":
        read_by_kafka_python(settings, events)
    else:
        read_by_confluent(settings, events)
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    return {
        "events_per_s": round(events / seconds),
        "events_per_cpu_s": round(events / cpu),
        "client_us_per_event": round(cpu / events * 1e6, 2),
        "redis_us_per_event": round(found.get("redis_cpu_s", 0) / events * 1e6, 2),
        "peak_rss_mb": peak_rss_mb(),
    }


def peak_rss_mb() -> int:
    """Of this process alone: what ``getrusage`` says begins with the memory of the one that started
    it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    settings = Settings.model_validate_json(sys.argv[2])
    figures = turn(sys.argv[1], settings, int(sys.argv[3]), Path(*sys.argv[4:5]))
    sys.stdout.write(json.dumps(figures) + "\n")
