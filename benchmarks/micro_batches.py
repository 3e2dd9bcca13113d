"""Processor time of small micro-batches, and of an idle worker.

    python -m benchmarks.micro_batches --json [--sizes 1,4,9,64] [--bursts 200] [--rounds 3]

One worker on a broker and a Redis. Bursts of so many events are sent, with a pause after each in
which the worker comes to rest; what its process has used, less what it uses when nothing comes, is
divided by the bursts. Clocks say little on a machine that does other work, processor time says
enough: what a small micro-batch costs is what decides how long events wait for one another.

``cpu_ms`` is of one burst and ``micro_batches`` in how many it was learnt: the events of a burst
that come in two fetches may be two. ``threads_ms`` is the same of single threads, the busiest
first, in the last round. Between bursts caches grow cold, of which a worker under load knows less.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_profiles
from benchmarks.contender import ONE_THREAD
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.measured import MeasuredWorker, running
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.servers import servers
from model.events import Click, encode_event
from stream.settings import Settings

SETTLE_S = 1.0
PAUSE_S, PAUSE_OF_EVENT_S = 0.05, 0.001
"""After a burst, and more of a larger one: a worker has been done with it for long."""
TOLD_THREADS = 5


class Bursts:
    """Sends events, so many at once."""

    def __init__(self, settings: Settings, crowd: Crowd) -> None:
        self._topic = settings.events_topic
        self._crowd = crowd
        self._sent = 0
        self._producer = Producer(
            {"bootstrap.servers": settings.brokers, "partitioner": "murmur2_random", "linger.ms": 1}
        )

    def send(self, size: int) -> None:
        """One burst; returns when the broker has it."""
        for user, item in self._crowd.clicks(size, first=self._sent):
            now_ms = time.time_ns() // 1_000_000
            event = Click(event_id=f"burst-{self._sent}", user_id=user, ts=now_ms, item_id=item)
            self._producer.produce(self._topic, encode_event(event), user)
            self._sent += 1
        self._producer.flush()


def by_thread(pid: int) -> dict[str, float]:
    """Seconds of processor time that each thread of a process has used, to the nanosecond."""
    spent: dict[str, float] = {}
    for each in Path(f"/proc/{pid}/task").iterdir():
        # The thread that has just told the metrics may have ended since it was listed.
        with suppress(FileNotFoundError, ProcessLookupError):
            spent[each.name] = int((each / "schedstat").read_text().split()[0]) / 1e9
    return spent


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    bundle = pinned_bundle(asked.items)
    sizes = [int(size) for size in asked.sizes.split(",")]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(asked.broker, Settings(bundle=bundle, provider="cpu")) as settings,
    ):
        fill_catalogue(settings, asked.items)
        crowd = Crowd(asked.users, asked.items)
        fill_profiles(settings, crowd)
        fill_counts(settings, crowd)
        worker = MeasuredWorker(settings, Path(folder) / "worker.log")
        bursts = Bursts(settings, crowd)
        with running([worker]):
            for size in sizes:
                _turn(worker, bursts, size, asked.bursts)  # warms up
            share = statistics.median([_idle(worker, asked.idle) for _ in range(asked.rounds)])
            turns: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
            for _ in range(asked.rounds):
                for size in sizes:
                    turns[size].append(_turn(worker, bursts, size, asked.bursts, share))
    by_size = {
        str(size): {
            name: round(statistics.median(turn[name] for turn in found), 3)
            for name in ("cpu_ms", "micro_batches")
        }
        | {"threads_ms": found[-1]["threads_ms"]}
        for size, found in turns.items()
    }
    return {
        **{f"cpu_ms_of_{size}": each["cpu_ms"] for size, each in by_size.items()},
        "idle_share": round(share, 4),
        "by_size": by_size,
        "broker": asked.broker,
        "bursts": asked.bursts,
        "rounds": asked.rounds,
        "machine": machine(),
    }


def _idle(worker: MeasuredWorker, seconds: float) -> float:
    """The share of a core that a worker uses that has nothing to do."""
    time.sleep(SETTLE_S)
    before, begun = by_thread(worker.process.pid), time.perf_counter()
    time.sleep(seconds)
    after = by_thread(worker.process.pid)
    return (sum(after.values()) - sum(before.values())) / (time.perf_counter() - begun)


def _turn(
    worker: MeasuredWorker, bursts: Bursts, size: int, count: int, idle: float = 0.0
) -> dict[str, Any]:
    time.sleep(SETTLE_S)
    batches = worker.sample()["batches"]
    before, begun = by_thread(worker.process.pid), time.perf_counter()
    for _ in range(count):
        bursts.send(size)
        time.sleep(PAUSE_S + PAUSE_OF_EVENT_S * size)
    after, seconds = by_thread(worker.process.pid), time.perf_counter() - begun
    spent = {name: at - before.get(name, 0.0) for name, at in after.items()}
    total = sum(spent.values()) - idle * seconds
    most = sorted(spent, key=lambda name: -spent[name])[:TOLD_THREADS]
    return {
        "cpu_ms": total * 1000 / count,
        "micro_batches": (worker.sample()["batches"] - batches) / count,
        "threads_ms": [round(spent[name] * 1000 / count, 3) for name in most],
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--sizes", default="1,4,9,64", help="events of a burst")
    parser.add_argument("--bursts", type=int, default=200, help="of one size in one round")
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds without any event")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    os.environ.update(ONE_THREAD)  # for the worker, which inherits it
    print_figures("micro_batches", measure(asked), None)


if __name__ == "__main__":
    main()
