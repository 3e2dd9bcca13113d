"""Builds of a generation of profiles and counts, from Kafka and from Parquet, beside bare readers.

    python -m benchmarks.replay --json [--events 1000000] [--rounds 3]

Each contender takes its turns in a process of its own on one Kafka and an empty Redis. A bare
reader fetches and decodes the same records and does nothing with them. ``ratio`` is by the clock,
``cpu_ratio`` by processor time of the reading process, which other work on the machine disturbs
less. What bounds a build is whichever of the two, client and Redis, spends more on an event.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.printed import print_figures
from benchmarks.replay_log import fill_topic, session_log, write_parquet
from benchmarks.servers import forget_everything, servers
from stream.settings import Settings

TURNS = ("kafka", "kafka_python", "confluent", "parquet")
BUILDS = ("kafka", "parquet")


def take_turn(name: str, settings: Settings, events: int, parquet: Path) -> dict[str, float]:
    """The figures of one contender."""
    forget_everything(settings)
    command = [sys.executable, "-m", "benchmarks.replay_turn", name, settings.model_dump_json()]
    done = subprocess.run(
        [*command, str(events), str(parquet)], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report: medians of all rounds."""
    made = {"users": asked.users, "items": ITEM_COUNT, "seed": asked.seed}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in TURNS}
    with (
        tempfile.TemporaryDirectory() as folder,
        servers("kafka", Settings()) as settings,
        Progress(console=Console(stderr=True)) as progress,
    ):
        parquet = Path(folder) / "events.parquet"
        bar = progress.add_task("the log", total=1 + asked.rounds * len(TURNS))
        fill_topic(settings, session_log(asked.events, **made))
        write_parquet(parquet, session_log(asked.events, **made))
        progress.advance(bar)
        for _ in range(asked.rounds):
            for name in TURNS:
                progress.update(bar, description=name)
                rounds[name].append(take_turn(name, settings, asked.events, parquet))
                progress.advance(bar)
    found = {
        name: {key: median(each[key] for each in turns) for key in turns[0]}
        for name, turns in rounds.items()
    }
    asked_for = {"events": asked.events, **made, "rounds": asked.rounds}
    return figures(found) | asked_for | {"machine": machine()}


def figures(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the turns come to."""
    build, bare = found["kafka"], found["kafka_python"]
    return {
        "kafka_events_per_s": build["events_per_s"],
        "bare_consumer_events_per_s": {
            "kafka_python": bare["events_per_s"],
            "confluent": found["confluent"]["events_per_s"],
        },
        "ratio": round(build["events_per_s"] / bare["events_per_s"], 3),
        "cpu_ratio": round(build["events_per_cpu_s"] / bare["events_per_cpu_s"], 3),
        "parquet_events_per_s": found["parquet"]["events_per_s"],
        "peak_rss_mb": max(found[name]["peak_rss_mb"] for name in BUILDS),
        "bounds": {name: bound(found[name]) for name in BUILDS},
        "turns": found,
    }


def bound(turn: dict[str, float]) -> str:
    """The part of a build that spends more on an event."""
    parts = {"client": turn["client_us_per_event"], "redis": turn["redis_us_per_event"]}
    name = max(parts, key=parts.__getitem__)
    return f"{name}, {parts[name]:.1f} us of a core an event"


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    print_figures("replay", measure(parser.parse_args()), None)


if __name__ == "__main__":
    main()
