"""What a list costs as the catalogue, the histories, the users and the workers grow.

    python -m benchmarks.scaling --json [--only catalogue|history|users|workers] [--rounds 5]

The first three time the whole path from records to lists in one process beside a Redis, without
Kafka, in micro-batches of 64; each size is a process of its own and takes its turn in every round.
``recall_at_100`` is the share of the exactly nearest 100 items that the ranker finds: 1 where all
items are scored, less where an index is searched (``benchmarks.pinned`` says of which vectors).
``growth`` is the slope of cost over size on logarithmic axes: 0 costs nothing more, 1 is in
proportion. Workers are the product's own on one backlog, and ``two_vs_one`` says what a second one
brings on this machine, which broker, Redis and workers share.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.backlog import Crowd, fill_profiles
from benchmarks.contender import ONE_THREAD, Contender
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT, LENGTH
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.ratios import median_ratio
from benchmarks.scaling_workers import workers
from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings, child_environment

BATCH = 64
LARGE = 100_000
RECALL_USERS = 256


@dataclass(frozen=True)
class Size:
    """One point of a curve."""

    items: int = ITEM_COUNT
    length: int = LENGTH
    users: int = 5_000
    past_events: int = LENGTH + 10

    @property
    def arguments(self) -> list[str]:
        """Of ``benchmarks.scaling_contender``."""
        return [str(self.items), str(self.users), str(self.past_events)]


def catalogue_sizes(sizes: Sequence[int]) -> dict[int, Size]:
    """Items in the catalogue and in the network."""
    return {items: Size(items=items) for items in sizes}


def history_sizes(sizes: Sequence[int]) -> dict[int, Size]:
    """Interactions that the network reads; the users have done as many."""
    return {length: Size(length=length, past_events=length) for length in sizes}


def user_sizes(sizes: Sequence[int]) -> dict[int, Size]:
    """Users in Redis, with a short past each: a million full profiles are 5 GB."""
    return {users: Size(users=users, past_events=10) for users in sizes}


CURVES = {
    "catalogue": (catalogue_sizes, "10000,100000,1000000"),
    "history": (history_sizes, "10,50,100"),
    "users": (user_sizes, "10000,1000000"),
}


def curve(
    sizes: Mapping[int, Size], asked: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    """The cost of a list at each size, and how it grows."""
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        contenders = {}
        bar = progress.add_task("opening", total=len(sizes) * (asked.rounds + 2))
        for at, size in sizes.items():
            settings = Settings(
                bundle=pinned_bundle(size.items, size.length), provider="cpu",
                redis_url=redis.url, redis_prefix=f"at{at}",
            )  # fmt: skip
            fill_profiles(settings, Crowd(size.users, size.items, past_events=size.past_events))
            contenders[at] = stack.enter_context(
                Contender(
                    "benchmarks.scaling_contender",
                    size.arguments,
                    environment=child_environment(settings) | ONE_THREAD,
                )
            )
            contenders[at].ask(batch=BATCH, seconds=0.0)  # opens and warms up
            progress.advance(bar)
        turns: dict[int, list[dict[str, Any]]] = {at: [] for at in sizes}
        for number in range(asked.rounds + 1):
            for at, contender in contenders.items():
                found = contender.ask(batch=BATCH, seconds=asked.seconds)
                if number:
                    turns[at].append(found)
                progress.update(bar, description=f"at {at:,}", advance=1)
        memory = {at: contender.rss_mb for at, contender in contenders.items()}
        # Last: the exact nearest take memory that a worker does not.
        recalls = {
            at: round(contender.ask(recall_of=RECALL_USERS)["recall"], 4)
            for at, contender in contenders.items()
        }
    costs = {at: statistics.median(each["us"] for each in found) for at, found in turns.items()}
    processor = {
        at: statistics.median(each["cpu_us"] for each in found) for at, found in turns.items()
    }
    return {
        "growth": growth(costs),
        "cpu_growth": growth(processor),
        "us_per_list": {str(at): round(cost) for at, cost in costs.items()},
        "us_per_list_by_round": {
            str(at): [round(each["us"], 1) for each in found] for at, found in turns.items()
        },
        "cpu_us_per_list": {str(at): round(cost) for at, cost in processor.items()},
        "rss_mb": {str(at): size for at, size in memory.items()},
        "recall_at_100": {str(at): found for at, found in recalls.items()},
    }


def growth(costs: Mapping[int, float]) -> float:
    """The slope of log cost over log size, by least squares."""
    return round(float(np.polyfit(np.log(list(costs)), np.log(list(costs.values())), 1)[0]), 3)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    found: dict[str, Any] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for name, (sizes_of, default) in CURVES.items():
            if asked.only in (None, name):
                sizes = [int(size) for size in (asked.sizes or default).split(",")]
                found[name] = curve(sizes_of(sizes), asked, progress)
        if asked.only in (None, "workers"):
            with tempfile.TemporaryDirectory() as folder:
                found["workers"] = workers(asked, Path(folder), progress)
    rounds = found.get("catalogue", {}).get("us_per_list_by_round", {})
    if {str(LARGE), str(10 * LARGE)} <= rounds.keys():
        million_vs = median_ratio(rounds[str(10 * LARGE)], rounds[str(LARGE)])
        found = {"million_vs_100_thousand_items": million_vs} | found
    return {
        **found,
        "batch": BATCH,
        "seconds_a_turn": asked.seconds,
        "rounds": asked.rounds,
        "machine": machine(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=(*CURVES, "workers"))
    parser.add_argument("--sizes", help="of the one curve that is asked for, commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one size in one round")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--events", type=int, default=150_000, help="the workers' backlog")
    parser.add_argument("--plots", type=Path, help="a folder to draw the figures into")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    if asked.sizes and asked.only not in CURVES:
        parser.error("--sizes needs --only with the curve that they are of")
    os.environ.update(ONE_THREAD)  # for the workers, which inherit it
    print_figures("scaling", measure(asked), asked.plots)


if __name__ == "__main__":
    main()
