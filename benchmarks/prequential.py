"""What is real time worth: the next event by a live profile, and by profiles of the past.

    python -m benchmarks.prequential --dataset online_retail --data DIR --json

The validation part of a public log is walked in event time, all items ranked; no answer of the
test is looked at. The model is counts that have learned what came before and stand still, so only
the profile differs: live, or without the newest of what a user has done. A log with times freezes
it where the day or the hour began (UTC), a log of sessions where the session began. A log that has
only an order has no such moment: there the profile is N events behind, N being events of the same
user that have happened and are not in his profile yet. Where seen items are not recommended, a
profile excludes what it holds, so one that is behind may show what its user has just had.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_data import DATASETS, Dataset
from benchmarks.quality_methods import START
from model.choice import Budget
from model.dataset import PURCHASE, EventLog
from model.features import DAY_MS
from model.journey import load_purchases
from model.past_counts import CountsTuning, cases_of, past_counts
from model.prequential import METRICS, PERIODS, worth_of
from model.protocols import PREQUENTIAL, Questions, owners, questions, sampled
from model.ranks import Ranks, judge
from model.sequences import Cases, Sequences
from model.transitions import Transitions
from stream.demo_log import REPLAY_FROM

SEED = 7
GROCERIES = "groceries"
GROCERIES_DAYS = 14
"""Before the demonstration's replay, whose days are the test."""
EVENTS_BEHIND = 1, 3, 10
WALKED_BY_ORDER = "beauty", "diginetica", "ml1m"


class Older(NamedTuple):
    """The same cases with profiles of the past."""

    cases: Cases
    changed: NDArray[np.bool_]
    """bool [B]: whose profile is another."""


@dataclass(frozen=True)
class Walk:
    """What is predicted, and by what."""

    counts: Transitions
    learned: int
    """Events that the counts have learned."""
    live: Cases
    older: dict[str, Older]
    """By how old the profile is."""
    owners: NDArray[np.int64]
    in_log: int
    """As many as there were to draw the cases from."""
    tuning: CountsTuning | None
    """None where the settings are those that ``benchmarks.quality`` begins with."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Walk and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted([*WALKED_BY_ORDER, "online_retail", GROCERIES])
    parser.add_argument("--dataset", choices=names, required=True)
    parser.add_argument("--data", type=Path, help="its folder; groceries come with a package")
    parser.add_argument("--cases", type=int, default=5_000, help="at most so many, drawn at random")
    parser.add_argument("--tune-seconds", type=float, default=60.0, help="of logs with times")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args(arguments)
    if asked.data is None and asked.dataset != GROCERIES:
        parser.error(f"--dataset {asked.dataset} needs --data FOLDER")
    sys.stdout.write(json.dumps(prequential(asked), indent=1) + "\n")


def prequential(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    begun = time.perf_counter()
    walk = walk_of(asked)
    live = judge(walk.counts, walk.live)
    frozen = {
        name: worth_of(
            live, ranks_of(walk.counts, older, live), older.changed, walk.owners, asked.seed
        )
        for name, older in walk.older.items()
    }
    return {
        "dataset": asked.dataset,
        "live": {name: float(of(live).mean()) for name, of in METRICS.items()},
        "profile_as_of": {
            name: {"share_changed": each.changed / each.cases} | msgspec.to_builtins(each)
            for name, each in frozen.items()
        },
        "cases": len(live),
        "cases_in_log": walk.in_log,
        "users": len(np.unique(walk.owners)),
        "answers_per_case": float(live.answers.mean()),
        "without_any_profile": float((walk.live.histories.lengths == 0).mean()),
        "items": walk.live.histories.item_count,
        "seen_items_excluded": walk.live.seen_excluded,
        "events_learned": walk.learned,
        "settings": dict(walk.counts.settings()),
        "tuning": msgspec.to_builtins(walk.tuning),
        "seed": asked.seed,
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": platform.machine(),
    }


def walk_of(asked: argparse.Namespace) -> Walk:
    """The validation part of a data set."""
    if asked.dataset == GROCERIES:
        log = load_purchases().before(REPLAY_FROM)
        return by_time(log, REPLAY_FROM - GROCERIES_DAYS * DAY_MS, asked)
    data = DATASETS[asked.dataset](asked.data)
    if asked.dataset in WALKED_BY_ORDER:
        return by_order(data, asked)
    split = data.rows[0].split
    begins, ends = split.validation.as_of, split.test.as_of
    assert begins is not None and ends is not None
    return by_time(log_of(data.sequences).before(ends), begins, asked)


def by_time(log: EventLog, start: int, asked: argparse.Namespace) -> Walk:
    """The moments of a log from ``start`` (epoch ms) on, and profiles as of a day or an hour."""
    counts, tuning = past_counts(
        log, protocol=PREQUENTIAL, start=start, repeats_allowed=True,
        tuning=Budget(seconds=asked.tune_seconds), seed=asked.seed,
    )  # fmt: skip
    every = questions(PREQUENTIAL, log, start, int(log.times.max()) + 1)
    live = sampled(every, asked.cases, asked.seed)
    assert isinstance(live, Questions)
    older = {}
    for name, period in PERIODS.items():
        frozen = live.frozen(period)
        changed = frozen.history_ends != live.history_ends
        older[f"the {name} began"] = Older(cases_of(frozen, repeats_allowed=True), changed)
    return Walk(
        counts, int((log.times < start).sum()), cases_of(live, repeats_allowed=True), older,
        owners(live), len(every), tuning,
    )  # fmt: skip


def by_order(data: Dataset, asked: argparse.Namespace) -> Walk:
    """The validation events of a log without times, and profiles that are events behind.

    Of a log of sessions these are all clicks of the newest sessions, the first ones too; of others
    the second last item of each user, the last one being the test.
    """
    split, sequences = data.rows[0].split, data.sequences
    excluded = split.validation.seen_excluded
    if asked.dataset == "diginetica":
        rows = np.arange(sequences.starts[len(split.train)], sequences.starts[-1])
    else:
        rows = sequences.starts[1:][sequences.lengths >= 3] - 2
    drawn = np.random.default_rng(asked.seed).permutation(len(rows))[: asked.cases]
    events = np.sort(rows[drawn])
    sequence = sequences.rows[events]
    begins = sequences.starts[:-1][sequence]

    def until(ends: NDArray[np.int64]) -> Cases:
        histories = sequences.spans(begins, ends)
        return Cases.single(histories, sequences.items[events], seen_excluded=excluded)

    ends = {
        f"{behind} event{'s' * (behind > 1)} ago": np.maximum(events - behind, begins)
        for behind in EVENTS_BEHIND
    }
    if asked.dataset == "diginetica":
        ends["the session began"] = begins
    counts = Transitions(data.objective, start=START[asked.dataset])
    counts.refit(split.train)
    return Walk(
        counts, len(split.train.items), until(events),
        {name: Older(until(each), each != events) for name, each in ends.items()},
        sequence, len(rows), None,
    )  # fmt: skip


def ranks_of(counts: Transitions, older: Older, live: Ranks) -> Ranks:
    """Of the cases with older profiles; where the profile is the live one, so is the list."""
    ranks = live.ranks.copy()
    if older.changed.any():
        changed = older.cases.take(np.flatnonzero(older.changed))
        ranks[np.repeat(older.changed, live.answers)] = judge(counts, changed).ranks
    return Ranks(ranks, live.starts)


def log_of(sequences: Sequences) -> EventLog:
    """Purchases with times as a log."""
    return EventLog.from_columns(
        sequences.rows.astype(np.int32),
        sequences.items,
        np.full(len(sequences.items), PURCHASE, np.uint8),
        sequences.known_times,
        [str(number) for number in range(len(sequences))],
        sequences.item_ids,
    )


if __name__ == "__main__":
    main()
