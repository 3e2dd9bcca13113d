"""From an event sent to its recommendation consumed, at 10%, 50% and 80% of saturation.

    python -m benchmarks.latency --json [--broker kafka|embedded] [--seconds 10] [--rounds 5]

One worker, an open loop: events are sent by a schedule (random moments, that rate on average) which
waits for nothing, and an event's latency runs from its scheduled moment, so that a stall counts for
every event that it keeps waiting. Saturation comes first: what a worker does while events keep
coming at the pace at which it works off a burst. The percentiles
are those of all rounds' events together; ``by_round`` has the median of the rounds' own ones, which
one stall of the machine does not move. ``sent_late_ms`` is the sender's own share at the 99th
percentile: where it is not small, the machine was too busy for the figures to mean much.

What a latency includes: the sender's way to the broker (a request of its own for each event unless
five are under way, no lingering), the broker, the worker with its trips to Redis and its delivery
(acks=all), and the way to the consumer, which is answered at the first record. The load itself, the
broker and Redis run on the same cores as the worker: ``cores`` has how many cores each of them kept
busy, so that it can be seen what the worker had left.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_profiles
from benchmarks.contender import ONE_THREAD, Contender, ContenderError
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.measured import MeasuredWorker, running
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.servers import servers
from stream.settings import Settings, child_environment

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
KINDS = {
    "stream.cli": "worker", "benchmarks.latency_load": "load", "kafka": "broker",
    "embedded_broker": "broker",
}  # fmt: skip
"""What tells a process by its command line; the one that is left is Redis."""
USERS = 50_000
"""Some 200,000 events go by in minutes, all of them within the half hour in which a user's events
make pairs: four or five of a user are a visit. Of 5,000 users it is forty, each of which pairs with
all before it, and what Redis and the worker count is another work with every round."""
BURSTS = 3
"""After one that warms everything up."""


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report.

    Raises:
        ContenderError: an event was lost, which is no figure but a fault.
    """
    bundle = pinned_bundle(asked.items)
    levels = [int(level) for level in asked.levels.split(",")]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(asked.broker, Settings(bundle=bundle, provider="cpu")) as settings,
        Progress(console=Console(stderr=True)) as progress,
    ):
        fill_catalogue(settings, asked.items)
        crowd = Crowd(asked.users, asked.items)
        fill_profiles(settings, crowd)
        fill_counts(settings, crowd)
        worker = MeasuredWorker(settings, Path(folder) / "worker.log")
        load = Contender(
            "benchmarks.latency_load",
            [str(asked.users), str(asked.items)],
            environment=child_environment(settings),
        )
        with running([worker]), load:
            bar = progress.add_task("bursts", total=2 * BURSTS + 1 + asked.rounds * len(levels))
            bursts, floods = [], []
            for _ in range(BURSTS + 1):
                bursts.append(load.ask(events=asked.burst)["per_s"])
                progress.advance(bar)
            burst = statistics.median(bursts[1:])
            for _ in range(BURSTS):
                # What keeps coming costs the broker, and so the machine, more than what is there.
                flood = load.ask(events=max(round(burst * asked.seconds / 2), 1), rate=burst)
                floods.append(flood["per_s_meanwhile"])
                progress.advance(bar)
            saturation = statistics.median(floods)
            turns: dict[int, list[dict[str, Any]]] = {level: [] for level in levels}
            for _ in range(asked.rounds):
                for level in levels:
                    progress.update(bar, description=f"{level}%")
                    rate = saturation * level / 100
                    events = max(round(rate * asked.seconds), 1)
                    before, begun = busy_s(), time.perf_counter()
                    turn = load.ask(events=events, rate=rate)
                    after, seconds = busy_s(), time.perf_counter() - begun
                    cores = {name: (after[name] - before[name]) / seconds for name in after}
                    turns[level].append({"rate": rate, "cores": cores, **turn})
                    progress.advance(bar)
            rss_mb = round(worker.rss_mb)
    by_level = {str(level): _figures(found) for level, found in turns.items()}
    middle = by_level.get("50", {})
    return {
        **{f"{name}_ms_at_50": middle[f"{name}_ms"] for name in PERCENTILES if middle},
        "saturation_events_per_s": round(saturation),
        "burst_events_per_s": round(burst),
        "by_level": by_level,
        "rss_mb": rss_mb,
        "broker": asked.broker,
        "users": asked.users,
        "items": asked.items,
        "burst": asked.burst,
        "seconds_a_turn": asked.seconds,
        "rounds": asked.rounds,
        "machine": machine(),
    }


def busy_s() -> dict[str, float]:
    """Seconds of processor time so far, of the worker and of what shares its cores."""
    found = dict.fromkeys(("worker", "load", "broker", "redis"), 0.0)
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        kind = next((kind for mark, kind in KINDS.items() if mark in words), "redis")
        found[kind] += sum(process.cpu_times()[:2])
    return found


def _figures(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One level: percentiles of all rounds together, and medians of the rounds' own."""
    together = np.concatenate([turn["latencies_ms"] for turn in turns])
    return {
        "events_per_s": round(turns[0]["rate"]),
        "events": len(together),
        **{
            f"{name}_ms": round(float(np.percentile(together, at)), 2)
            for name, at in PERCENTILES.items()
        },
        "max_ms": round(float(together.max()), 2),
        "by_round": {
            f"{name}_ms": round(
                statistics.median(float(np.percentile(turn["latencies_ms"], at)) for turn in turns),
                2,
            )
            for name, at in PERCENTILES.items()
        },
        "sent_late_ms": round(statistics.median(turn["sent_late_ms"] for turn in turns), 3),
        "cores": {
            name: round(statistics.median(turn["cores"][name] for turn in turns), 3)
            for name in turns[0]["cores"]
        },
        "curve": [round(float(each), 2) for each in np.percentile(together, CURVE)],
    }


CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9)
"""Percentiles of ``curve``, for the plot."""


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--levels", default="10,50,80", help="percent of saturation")
    parser.add_argument("--burst", type=int, default=10_000, help="events sent all at once")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one level in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plots", type=Path, help="a folder to draw the figures into")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    os.environ.update(ONE_THREAD)  # for the worker, which inherits it
    try:
        found = measure(asked)
    except ContenderError as error:
        sys.exit(f"benchmarks.latency: {error}")
    print_figures("latency", found, asked.plots)


if __name__ == "__main__":
    main()
