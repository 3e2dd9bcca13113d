"""What a second worker brings: one and two of the product's workers on the same backlog.

Twice: with a core for each worker, as one deploys them, and with every core for all. A worker that
has two cores to itself uses more than one (the model runs beside the rest), so that only the former
tells what a worker more brings. Broker and Redis have every core, and take what they need: where
they do not leave a core for the second worker, ``by_processor_time`` tells what it would bring, by
what a list costs the workers themselves.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_events, fill_profiles
from benchmarks.made_up import ITEM_COUNT
from benchmarks.measured import PATIENCE_S, MeasuredWorker, running
from benchmarks.pace import INTERVAL_S, PaceError, Sample
from benchmarks.pinned import pinned_bundle
from benchmarks.ratios import median_ratio
from benchmarks.servers import forget_everything, servers
from stream.settings import Settings

COUNTS = (1, 2)
CROWD = Crowd(users=5_000, items=ITEM_COUNT)


class Rate(NamedTuple):
    """What all workers do together."""

    lists_per_s: float
    cpu_us_per_list: float
    """Of the workers alone."""


def workers(asked: argparse.Namespace, folder: Path, progress: Progress) -> dict[str, Any]:
    """Lists a second of one worker and of two, and the medians of the rounds' ratios."""
    turns = [(count, has_core) for has_core in (True, False) for count in COUNTS]
    rates: dict[tuple[int, bool], list[Rate]] = {turn: [] for turn in turns}
    bar = progress.add_task("workers", total=asked.rounds * len(turns))
    base = Settings(bundle=pinned_bundle(), provider="cpu", max_event_age_s=86_400)
    with servers(asked.broker, base) as settings:
        fill_catalogue(settings, CROWD.items)
        fill_events(settings, CROWD.clicks(asked.events))
        for number in range(asked.rounds):
            for count, has_core in turns:
                forget_everything(settings)
                fill_profiles(settings, CROWD)
                fill_counts(settings, CROWD)
                name = f"{count}-{'core' if has_core else 'free'}-{number}"
                group = settings.model_copy(update={"group": f"workers-{name}"})
                team = [
                    MeasuredWorker(group, folder / f"worker-{name}-{at}.log", core)
                    for at, core in enumerate(_cores(count) if has_core else [None] * count)
                ]
                with running(team):
                    rates[count, has_core].append(_rate(team, asked.seconds, asked.events))
                progress.advance(bar)
    a_core_each, every_core = (
        {
            "two_vs_one": median_ratio(
                (rate.lists_per_s for rate in rates[2, has_core]),
                (rate.lists_per_s for rate in rates[1, has_core]),
            ),
            "by_processor_time": {
                "two_vs_one": median_ratio(
                    (2 * rate.cpu_us_per_list for rate in rates[1, has_core]),
                    (rate.cpu_us_per_list for rate in rates[2, has_core]),
                )
            },
            "lists_per_s": {
                str(count): round(statistics.median(r.lists_per_s for r in rates[count, has_core]))
                for count in COUNTS
            },
        }
        for has_core in (True, False)
    )
    return {**a_core_each, "with_every_core": every_core}


def _cores(count: int) -> list[int]:
    """A core for each worker, shared where there are fewer."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[at % len(cores)] for at in range(count)]


def _rate(team: Sequence[MeasuredWorker], seconds: float, events: int) -> Rate:
    """Of all together, from when each of them has begun.

    Raises:
        PaceError: one of them did not begin, or the backlog ended first.
    """
    before = [worker.sample() for worker in team]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        time.sleep(INTERVAL_S)
        now = [worker.sample() for worker in team]
        if all(b["lists"] > a["lists"] for a, b in zip(before, now, strict=True)):
            break
        if time.monotonic() > deadline:
            raise PaceError("a worker has no work: give the backlog more --events")
    time.sleep(seconds)
    last = [worker.sample() for worker in team]
    if _total(last, "done") >= events:
        raise PaceError("the backlog ended before the turn did: give it more --events")
    lists = _total(last, "lists") - _total(now, "lists")
    return Rate(
        lists / (last[0]["at"] - now[0]["at"]),
        (_total(last, "cpu_s") - _total(now, "cpu_s")) / lists * 1e6,
    )


def _total(samples: Sequence[Sample], counter: str) -> float:
    return sum(sample[counter] for sample in samples)
