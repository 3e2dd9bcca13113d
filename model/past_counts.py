"""Counts that have learned the past of a log, their settings chosen on its newest days."""

import time
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.choice import Budget
from model.dataset import PROFILE_INTERACTIONS, Baskets, EventLog
from model.method import Setting
from model.protocols import questions, sampled
from model.sequences import Cases, Sequences
from model.transitions import Transitions

REACH = 20
"""In events: pairs further apart gain little and cost as much as near ones."""
TUNING_CASES = 2000


class CountsTuning(msgspec.Struct, frozen=True):
    """How far the settings of the counts were chosen."""

    trials: int
    """Settings that were tried; 0 where the counts kept their defaults."""
    seconds: float
    """That the choice took, counting included."""
    finished: bool
    """Whether a whole round over all settings brought nothing more; else the budget cut it."""
    cases: int
    """That each trial was judged on."""
    budget_seconds: float
    budget_trials: int
    settings: dict[str, Setting]
    """In force."""


class PastCounts(NamedTuple):
    """The counts, and how they were tuned."""

    counts: Transitions
    tuning: CountsTuning


def past_counts(
    log: EventLog,
    *,
    protocol: str,
    start: int,
    repeats_allowed: bool,
    tuning: Budget,
    seed: int,
    kind: int | None = None,
) -> PastCounts:
    """Learn what came before ``start``; choose the settings on as many days before it as follow.

    Args:
        log: all rows; of those from ``start`` on only how far they go is looked at.
        protocol: the settings are chosen for its questions.
        start: epoch ms, where the judged days begin.
        repeats_allowed: False leaves out what is in the history.
        tuning: of the choice; with no seconds the counts keep their defaults.
        seed: of the cases that they are tuned on.
        kind: what these cases ask for, see ``model.protocols.questions``.
    """
    counts = Transitions(
        lambda ranks: float(ranks.ndcg(10).mean()),
        budget=tuning,
        cases=TUNING_CASES,
        reach=REACH,
        seed=seed,
    )
    earlier = log.before(start)
    begun, cases = time.monotonic(), 0
    if tuning.seconds > 0 and len(earlier):
        newest, end = int(earlier.times.max()) + 1, int(log.times.max()) + 1
        # At most the newest fourth: counts that have learned too little are tuned for too little.
        span = min(end - start, (newest - int(earlier.times.min())) // 4)
        every = questions(protocol, earlier, newest - span, newest, kind)
        if len(every):
            asked = cases_of(sampled(every, TUNING_CASES, seed), repeats_allowed)
            cases = len(asked)
            counts.fit(Sequences.from_log(earlier.before(newest - span)), asked)
    choice, seconds = counts.choice, time.monotonic() - begun
    counts.refit(Sequences.from_log(earlier))
    return PastCounts(
        counts,
        CountsTuning(
            trials=choice.trials if choice else 0,
            seconds=round(seconds, 1) if choice else 0.0,
            finished=choice is not None and choice.finished,
            cases=cases,
            budget_seconds=tuning.seconds,
            budget_trials=tuning.trials,
            settings=dict(counts.settings()),
        ),
    )


def cases_of(asked: Baskets, repeats_allowed: bool) -> Cases:
    """Questions about a log, for a method on sequences.

    Histories are the interactions that a profile keeps; where nothing may be repeated, all that
    is known, since all of it is left out.
    """
    starts = asked.history_starts
    if repeats_allowed:
        starts = np.maximum(starts, asked.history_ends - PROFILE_INTERACTIONS)
    histories = Sequences.from_log(asked.log).spans(starts, asked.history_ends)
    return Cases(histories, *answers_of(asked), seen_excluded=not repeats_allowed)


def answers_of(asked: Baskets) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The answers of all questions end to end, int32 [T], and where each one's begin [N + 1]."""
    parts = [asked.targets(number) for number in range(len(asked))]
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return np.concatenate(parts).astype(np.int32), starts
