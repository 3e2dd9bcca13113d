"""The lists that are judged side by side: the bundle's blend, its network alone, baselines.

All are made from the same histories, int64 [N, 20] each, best first and -1 where a list is
shorter. What all users share (popularity, co-visits) is as of the midnight before each question;
the tuned counts have learned all that came before the judged days, the network what came up to the
end of its training range.
"""

from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.baselines import FrequentThenPopular, MostPopular
from model.blend import blend
from model.bundle import Bundle, Precision
from model.calibration import list_probability
from model.choice import Budget
from model.dataset import PROFILE_INTERACTIONS, Baskets, EventLog
from model.evaluate import CandidateTable, Judge
from model.features import UNKNOWN
from model.list_quality import NOTHING
from model.method import Scores
from model.protocols import questions, sampled, times
from model.ranks import BATCH_CELLS
from model.sequences import Cases, Sequences
from model.transitions import Transitions

DEPTH = 20
SHOWN = 10
"""Places of a list that a worker publishes, and that calibration is about."""
QUESTIONS_AT_ONCE = 4096
"""Some 300 candidates each: 50 MB."""
REACH = 20
"""Of the counts, in events: pairs further apart gain little and cost as much as near ones."""
TUNING_CASES = 2000

Lists = NDArray[np.int64]
Progress = Callable[[str, float], None]


class Served(NamedTuple):
    """What a bundle answers to N questions."""

    blend: Lists
    network: Lists
    probability: NDArray[np.float64]
    """float64 [N]: that the next pick is in the first ten, see ``model.calibration``."""


class BundleJudge:
    """Asks a bundle, through ONNX Runtime on the CPU and by the rules of a worker.

    Raises:
        model.bundle.BundleError: the bundle holds no graph of that precision.
    """

    def __init__(self, bundle: Bundle, log: EventLog, precision: Precision = "fp32") -> None:
        manifest = bundle.manifest
        self._blend = manifest.blend
        self._judge = Judge(
            bundle.graph(precision),
            bundle.vocabulary,
            log,
            length=manifest.history_length,
            popularity_half_life_days=manifest.popularity_half_life_days,
            repeat_half_life_days=manifest.blend.repeat_half_life_days,
            repeats_allowed=manifest.repeats_allowed,
        )

    def ask(self, asked: Baskets, progress: Callable[[float], None] = lambda share: None) -> Served:
        """The lists for some questions, each made from its history alone."""
        size = len(asked)
        served = Served(_empty(size), _empty(size), np.zeros(size))
        # By time, so that the counts of a day are made once.
        order = np.argsort(times(asked), kind="stable")
        for start in range(0, size, QUESTIONS_AT_ONCE):
            part = order[start : start + QUESTIONS_AT_ONCE]
            for whole, some in zip(served, self._ask(asked.take(part)), strict=True):
                whole[part] = some
            progress(min(1.0, (start + len(part)) / size))
        return served

    def _ask(self, asked: Baskets) -> Served:
        table = self._judge.candidates(asked)
        scores = blend(self._blend, table.signals)
        starts = np.searchsorted(table.basket, np.arange(len(asked) + 1)).astype(np.int64)
        known = table.signals.rows != UNKNOWN
        return Served(
            _first(table, scores, np.ones(len(scores), bool)),
            _first(table, table.signals.network, known),
            list_probability(scores, starts, SHOWN),
        )


def baseline_lists(
    log: EventLog,
    asked: Baskets,
    *,
    protocol: str,
    start: int,
    repeats_allowed: bool,
    tuning: Budget,
    seed: int,
) -> dict[str, Lists]:
    """The lists of every baseline.

    Args:
        log: all rows; those before each question are used.
        asked: from ``start`` on.
        protocol: that ``asked`` is of; the counts are tuned on the same one.
        start: epoch ms, where the judged days begin.
        repeats_allowed: False leaves out what is in the history.
        tuning: of the counts' settings; with no seconds they keep their defaults.
        seed: of the cases that they are tuned on.
    """
    counts = _tuned_counts(log, protocol, start, repeats_allowed, tuning, seed)
    found = {"popular": _popular(log, asked, repeats_allowed)}
    # Where what someone has bought may not come back, habits have nothing to say.
    if repeats_allowed:
        found["frequent, full history"] = FrequentThenPopular(log, None).rank(asked, DEPTH)
        found["frequent, profile history"] = FrequentThenPopular(log).rank(asked, DEPTH)
    return {name: _padded(ranked) for name, ranked in found.items()} | {
        "counts": _best_of_all(counts, _cases(asked, repeats_allowed))
    }


def answers_of(asked: Baskets) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The answers of all questions end to end, int32 [T], and where each one's begin [N + 1]."""
    parts = [asked.targets(number) for number in range(len(asked))]
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return np.concatenate(parts).astype(np.int32), starts


def _popular(log: EventLog, asked: Baskets, repeats_allowed: bool) -> list[NDArray[np.int64]]:
    popular = MostPopular(log)
    if repeats_allowed:
        return popular.rank(asked, DEPTH)
    lists = []
    for number in range(len(asked)):
        own = np.unique(log.items[asked.history_starts[number] : asked.history_ends[number]])
        top = popular.top(asked.time(number), DEPTH + len(own))
        lists.append(top[~np.isin(top, own)][:DEPTH])
    return lists


def _tuned_counts(
    log: EventLog, protocol: str, start: int, repeats_allowed: bool, tuning: Budget, seed: int
) -> Transitions:
    """Counts of what came before ``start``, their settings chosen on as many days before it."""
    counts = Transitions(
        lambda ranks: float(ranks.ndcg(10).mean()),
        budget=tuning,
        cases=TUNING_CASES,
        reach=REACH,
        seed=seed,
    )
    earlier = log.before(start)
    if tuning.seconds > 0 and len(earlier):
        newest, end = int(earlier.times.max()) + 1, int(log.times.max()) + 1
        # At most the newest fourth: counts that have learned too little are tuned for too little.
        span = min(end - start, (newest - int(earlier.times.min())) // 4)
        every = questions(protocol, earlier, newest - span, newest)
        if len(every):
            asked = sampled(every, TUNING_CASES, seed)
            counts.fit(
                Sequences.from_log(earlier.before(newest - span)), _cases(asked, repeats_allowed)
            )
    counts.refit(Sequences.from_log(earlier))
    return counts


def _cases(asked: Baskets, repeats_allowed: bool) -> Cases:
    starts = asked.history_starts
    if repeats_allowed:
        starts = np.maximum(starts, asked.history_ends - PROFILE_INTERACTIONS)
    histories = Sequences.from_log(asked.log).spans(starts, asked.history_ends)
    return Cases(histories, *answers_of(asked), seen_excluded=not repeats_allowed)


def _best_of_all(counts: Transitions, cases: Cases) -> Lists:
    """The first 20 of all items that have a score."""
    lists = _empty(len(cases))
    size = max(1, BATCH_CELLS // cases.histories.item_count)
    for start in range(0, len(cases), size):
        numbers = np.arange(start, min(start + size, len(cases)))
        histories = cases.histories.take(numbers)
        scores = counts.scores(histories)
        if cases.seen_excluded:
            scores[histories.rows, histories.items] = -np.inf
        depth = min(DEPTH, scores.shape[1])
        top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        values: Scores = scores[np.arange(len(top))[:, None], top]
        order = np.argsort(-values, axis=1, kind="stable")
        listed = np.where(values > 0, top, NOTHING)
        lists[numbers, :depth] = np.take_along_axis(listed, order, axis=1)
    return lists


def _first(table: CandidateTable, scores: NDArray[np.float32], kept: NDArray[np.bool_]) -> Lists:
    """The first 20 candidates of each question by ``scores``, of those that are kept; of equal
    ones the lower position, as a worker takes the lower row."""
    owner, item = table.basket[kept], table.item[kept]
    order = np.lexsort((item, -scores[kept], owner))
    place = np.arange(len(order)) - np.searchsorted(owner, owner)
    here = place < DEPTH
    lists = _empty(len(table.baskets))
    lists[owner[here], place[here]] = item[order][here]
    return lists


def _padded(ranked: list[NDArray[np.int64]]) -> Lists:
    lists = _empty(len(ranked))
    lengths = np.array([len(each) for each in ranked])
    lists[np.arange(DEPTH) < lengths[:, None]] = np.fromiter(
        chain.from_iterable(ranked), np.int64, int(lengths.sum())
    )
    return lists


def _empty(size: int) -> Lists:
    return np.full((size, DEPTH), NOTHING, np.int64)
