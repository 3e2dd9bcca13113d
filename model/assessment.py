"""The whole verdict on a bundle: every contender, every figure, with how sure it is.

Rank metrics per case come from ``model.ranks``, their intervals from ``model.intervals``, what
lists are like from ``model.list_quality``, parts of the answers from ``model.slices``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, Precision
from model.calibration import Calibration, calibrate
from model.choice import Budget
from model.dataset import Baskets, EventLog
from model.intervals import LEVEL, RESAMPLES, Interval, bootstrap
from model.items import Item
from model.list_quality import (
    Distance,
    by_category,
    by_users,
    coverage,
    diversity,
    exposures,
    gini,
    novelty,
    tail_share,
)
from model.past_counts import CountsTuning, answers_of, past_counts
from model.prequential import PERIODS, Prequential, compare, frozen_lists
from model.protocols import PREQUENTIAL, Questions, owners, questions, sampled, times
from model.ranked_lists import SHOWN, BundleJudge, Lists, Progress, baseline_lists
from model.ranks import Ranks, ranks_in_lists
from model.slices import cut, slice_masks
from model.task_calibration import TaskReliability
from model.tasks import kind_of

CUTOFFS = (5, 10, 20)
SLICE_METRICS = ("hit@10", "ndcg@10")
MOST_DIVERSE = 2000
"""Lists of which diversity is taken: its mean is then known to a hundredth."""
SERVED = "blend (what is served)"
NETWORK = "network"
TUNING = Budget(seconds=60.0, trials=60)


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    protocol: str
    start: int
    """Epoch ms: the first moment to judge; the log's last one is the last."""
    cases: int | None = None
    """At most so many, drawn at random; None for all."""
    seed: int = 0
    """Of the cases, the resamples and the samples."""
    tuning: Budget = TUNING
    """Of the counts."""
    precision: Precision = "fp32"
    """Of the bundle's graphs, the one that is judged."""
    items: Sequence[Item] = field(default=(), repr=False)
    """The catalogue, for a bundle with an item tower or with sources that need it; without one,
    what it has not learned is scored as "another item", and those sources are left out."""
    categories: NDArray[np.int64] | None = field(default=None, repr=False)
    """int64 [items of the log]: for diversity; negative where it is unknown."""
    diversity: float | None = None
    """Strength with which lists are varied, from 0 to 1; None for the bundle's own."""


class SliceFigures(msgspec.Struct, frozen=True):
    """One contender on a part of the answers."""

    cases: int
    metrics: dict[str, Interval]


class Figures(msgspec.Struct, frozen=True):
    """One contender."""

    metrics: dict[str, Interval]
    """``hit@5`` to ``mrr@20``."""
    lists: dict[str, float]
    """Of the first ten: coverage, gini, novelty, diversity, tail_share."""
    slices: dict[str, SliceFigures]


class Assessment(msgspec.Struct, frozen=True):
    """The verdict."""

    bundle: str
    precision: Precision
    protocol: str
    first_day: str
    last_day: str
    cases: int
    cases_in_log: int
    """As many as there were to draw ``cases`` from."""
    users: int
    items: int
    """Of the whole log: what coverage is a share of, and what is ranked."""
    seed: int
    level: float
    resamples: int
    contenders: dict[str, Figures]
    """What is served first, then the network alone, then the others."""
    gains: dict[str, Interval]
    """NDCG@10 of what is served, less that of each other contender."""
    diversity_by: str
    """``category`` or ``users``."""
    calibration: Calibration
    """Of what is served."""
    counts_tuning: CountsTuning
    """Of the contender ``counts``."""
    prequential: Prequential | None
    left_out: list[str] = []
    """Sources that the bundle has and that were not asked: those that no log can be asked for, and
    without a catalogue those that need one."""
    tasks: dict[str, TaskReliability] = {}
    """How true the probabilities in the bundle's manifest are on the judged days."""


class NothingToJudge(ValueError):
    """The judged days hold no case of the protocol."""


def assess(bundle: Bundle, log: EventLog, request: Request, progress: Progress) -> Assessment:
    """Judge a bundle and every baseline on one protocol.

    Args:
        bundle: its ONNX graph is judged, by the rules of a worker.
        log: everything; histories come from all of it, cases from ``request.start`` on.
        request: what to judge.
        progress: called with a text and the share that is done.

    Raises:
        NothingToJudge: there is no case.
        model.bundle.BundleError: the bundle holds no graph of the precision.
        ValueError: there is no such protocol.
    """
    task = bundle.manifest.task
    kind = kind_of(task) if task else None
    end = int(log.times.max(initial=0)) + 1
    every = questions(request.protocol, log, request.start, end, kind)
    if not len(every):
        raise NothingToJudge("the days to judge hold no case")
    asked = every if request.cases is None else sampled(every, request.cases, request.seed)
    judge = BundleJudge(
        bundle, log, request.precision, request.items,
        diversity=request.diversity, categories=request.categories,
    )  # fmt: skip
    served = judge.ask(asked, lambda share: progress("the bundle's lists", 0.5 * share))
    lists = {SERVED: served.blend, NETWORK: served.network}
    changed: dict[str, NDArray[np.bool_]] = {}
    if isinstance(asked, Questions) and request.protocol == PREQUENTIAL:
        for number, (name, period) in enumerate(PERIODS.items()):
            lists[_frozen(name)], changed[name] = frozen_lists(
                judge, asked, served.blend, period,
                _span(progress, f"profiles of the {name}", 0.5 + 0.15 * number, 0.15),
            )  # fmt: skip
    progress("baselines", 0.8)
    repeats_allowed = bundle.manifest.repeats_allowed
    counts, tuning = past_counts(
        log, protocol=request.protocol, start=request.start, repeats_allowed=repeats_allowed,
        tuning=request.tuning, seed=request.seed, kind=kind,
    )  # fmt: skip
    lists |= baseline_lists(log, asked, counts=counts, repeats_allowed=repeats_allowed)
    progress("figures", 0.95)
    sheet = _Sheet(asked, log.before(request.start), request, lists)
    return Assessment(
        bundle=bundle.manifest.version,
        precision=request.precision,
        protocol=request.protocol,
        first_day=_day(request.start),
        last_day=_day(int(log.times.max())),
        cases=len(asked),
        cases_in_log=len(every),
        users=len(np.unique(sheet.owners)),
        items=len(log.item_ids),
        seed=request.seed,
        level=LEVEL,
        resamples=RESAMPLES,
        contenders=sheet.contenders(),
        gains=sheet.gains(),
        diversity_by="users" if request.categories is None else "category",
        calibration=calibrate(served.probability, sheet.ranks[SERVED].recall(SHOWN)),
        counts_tuning=tuning,
        prequential=sheet.prequential(times(asked), changed) if changed else None,
        left_out=judge.left_out,
        tasks=judge.tasks(log, request.start),
    )


class _Sheet:
    """The figures of all contenders on the same cases."""

    def __init__(
        self, asked: Baskets, train: EventLog, request: Request, lists: Mapping[str, Lists]
    ) -> None:
        self._lists = lists
        self._seed = request.seed
        self._targets, self._starts = answers_of(asked)
        self.ranks = {
            name: ranks_in_lists(each, self._targets, self._starts) for name, each in lists.items()
        }
        self.owners = owners(asked)
        self._popularity = np.bincount(train.items, minlength=len(train.item_ids))
        self._masks = slice_masks(
            self._targets, self._starts, self._popularity,
            asked.history_ends - asked.history_starts,
        )  # fmt: skip
        self._distance: Distance = (
            by_users(train.users, train.items, seed=request.seed)
            if request.categories is None
            else by_category(request.categories)
        )

    def contenders(self) -> dict[str, Figures]:
        """By name."""
        metrics = self._bootstrap(self.ranks, np.arange(len(self.owners)), None)
        slices: dict[str, dict[str, SliceFigures]] = {name: {} for name in self.ranks}
        for part, mask in self._masks.items():
            if not mask.any():
                continue
            cases = cut(next(iter(self.ranks.values())), mask).cases
            ranks = {name: cut(each, mask).ranks for name, each in self.ranks.items()}
            for name, found in self._bootstrap(ranks, cases, SLICE_METRICS).items():
                slices[name][part] = SliceFigures(len(cases), found)
        return {
            name: Figures(metrics[name], self._list_figures(self._lists[name]), slices[name])
            for name in self.ranks
        }

    def gains(self) -> dict[str, Interval]:
        """NDCG@10 of what is served less each other's, case by case."""
        best = self.ranks[SERVED].ndcg(10)
        others = {
            name: best - ranks.ndcg(10) for name, ranks in self.ranks.items() if name != SERVED
        }
        return bootstrap(others, self.owners, seed=self._seed)

    def prequential(
        self, moments: NDArray[np.int64], changed: Mapping[str, NDArray[np.bool_]]
    ) -> Prequential:
        """What is served, beside the same with profiles of the past."""
        frozen = {name: self.ranks[_frozen(name)] for name in changed}
        return compare(moments, self.ranks[SERVED], frozen, changed, self.owners, self._seed)

    def _bootstrap(
        self, ranks: Mapping[str, Ranks], cases: NDArray[np.int64], only: tuple[str, ...] | None
    ) -> dict[str, dict[str, Interval]]:
        values = {
            (name, metric): each
            for name, of_name in ranks.items()
            for metric, each in per_case(of_name).items()
            if only is None or metric in only
        }
        flat = {"\n".join(key): each for key, each in values.items()}
        found = bootstrap(flat, self.owners[cases], seed=self._seed)
        return {
            name: {metric: found[f"{name}\n{metric}"] for of, metric in values if of == name}
            for name in ranks
        }

    def _list_figures(self, lists: Lists) -> dict[str, float]:
        shown = lists[:, :SHOWN]
        count = exposures(shown, len(self._popularity))
        some = shown
        if len(shown) > MOST_DIVERSE:
            rng = np.random.default_rng(self._seed)
            some = shown[rng.choice(len(shown), MOST_DIVERSE, replace=False)]
        return {
            "coverage": coverage(count),
            "gini": gini(count),
            "novelty": novelty(count, self._popularity),
            "diversity": diversity(some, self._distance),
            "tail_share": tail_share(count, self._popularity),
        }


def per_case(ranks: Ranks) -> dict[str, NDArray[np.float64]]:
    """``hit@5`` to ``mrr@20`` of each case, float64 [B]."""
    return {
        f"{name}@{cutoff}": getattr(ranks, name)(cutoff)
        for name in ("hit", "recall", "ndcg", "mrr")
        for cutoff in CUTOFFS
    }


def _frozen(period: str) -> str:
    return f"blend, profiles frozen each {period}"


def _span(progress: Progress, text: str, begun: float, share: float) -> Callable[[float], None]:
    """A part of the whole progress, told by the share of it that is done."""
    return lambda done: progress(text, begun + share * done)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")
