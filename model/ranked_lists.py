"""The lists that are judged side by side: the bundle's blend, its network alone, baselines.

All are made from the same histories, int64 [N, 20] each, best first and -1 where a list is
shorter. What all users share (popularity, co-visits) is as of the midnight before each question;
the tuned counts have learned all that came before the judged days, the network what came up to the
end of its training range.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.baselines import FrequentThenPopular, MostPopular
from model.blend import blend
from model.bundle import Bundle, Precision
from model.calibration import list_probability
from model.candidate_table import CandidateTable
from model.cold_items import cold_positions
from model.dataset import Baskets, EventLog
from model.diversity import Diversity, Traits
from model.evaluate import Judge
from model.features import UNKNOWN
from model.item_vectors import diversity_of
from model.items import Item
from model.list_composition import FREE, Ranked, Variety, compose
from model.list_quality import NOTHING
from model.log_catalogue import LogCatalogue
from model.log_sources import plan_of
from model.method import Scores
from model.past_counts import cases_of
from model.pool_table import Chosen
from model.protocols import times
from model.ranks import BATCH_CELLS
from model.sequences import Cases
from model.task_calibration import TaskReliability, judge_tasks
from model.transitions import Transitions

DEPTH = 20
SHOWN = 10
"""Places of a list that a worker publishes, and that calibration is about."""
QUESTIONS_AT_ONCE = 4096
"""Some 300 candidates each: 50 MB."""

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

    Args:
        bundle: what is asked.
        log: all rows.
        precision: of the graph.
        items: the catalogue, for a bundle with an item tower or with sources that need one.
        diversity: of the lists, from 0 to 1; None for what the manifest says.
        categories: int64, a number of each item's category, -1 for none; None where none is known.

    Raises:
        model.bundle.BundleError: the bundle holds no graph of that precision.
    """

    def __init__(
        self,
        bundle: Bundle,
        log: EventLog,
        precision: Precision = "fp32",
        items: Sequence[Item] = (),
        *,
        diversity: float | None = None,
        categories: NDArray[np.int64] | None = None,
    ) -> None:
        manifest, tower = bundle.manifest, bundle.tower_path
        strength = manifest.diversity if diversity is None else diversity
        self._diversity = diversity_of(bundle, strength)
        self._categories = np.zeros(len(log.item_ids), np.int32)
        if categories is not None:
            self._categories = (categories + 1).astype(np.int32)
        self._blend = manifest.blend
        self._calibration = manifest.calibration
        catalogue = LogCatalogue(log, items) if items else None
        plan, self.left_out = plan_of(manifest.quotas, catalogue, manifest.fresh)
        """Sources of the bundle that are not asked, see ``model.log_sources``."""
        self._judge = Judge(
            bundle.graph(precision),
            bundle.vocabulary,
            log,
            length=manifest.history_length,
            popularity_half_life_days=manifest.popularity_half_life_days,
            repeat_half_life_days=manifest.blend.repeat_half_life_days,
            repeats_allowed=manifest.repeats_allowed,
            cold=cold_positions(tower, items, log, bundle.vocabulary) if tower and items else None,
            plan=plan,
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

    def tasks(self, log: EventLog, start: int) -> dict[str, TaskReliability]:
        """How true the manifest's probabilities are from ``start`` (epoch ms) on, by task."""
        return judge_tasks(self._judge, log, start, self._calibration, self._blend)

    def _ask(self, asked: Baskets) -> Served:
        table = self._judge.candidates(asked)
        scores = blend(self._blend, table.signals)
        starts = np.searchsorted(table.basket, np.arange(len(asked) + 1)).astype(np.int64)
        known = table.signals.rows != UNKNOWN
        return Served(
            self._varied(table, scores),
            _first(table, table.signals.network, known),
            list_probability(scores, starts, SHOWN),
        )

    def _varied(self, table: CandidateTable, scores: NDArray[np.float32]) -> Lists:
        """The lists by the blend: what a worker publishes varied, and the next best behind it."""
        left = np.ones(len(scores), bool)
        if self._diversity is None:
            return _first(table, scores, left)
        places, ends = varied(table, scores, self._diversity, self._categories)
        left[places] = False
        sizes = np.diff(ends, prepend=0)
        lists = _empty(len(table.baskets))
        lists[:, :SHOWN][np.arange(SHOWN) < sizes[:, None]] = table.item[places]
        lists[:, SHOWN:] = _first(table, scores, left)[:, : DEPTH - SHOWN]
        return lists


def varied(
    table: CandidateTable,
    scores: NDArray[np.float32],
    diversity: Diversity,
    categories: NDArray[np.int32],
) -> Chosen:
    """The first ten of each question, varied as a worker varies them, but for brands: nothing tells
    them here, so that items outside the vocabulary are alike by their categories alone.

    Args:
        table: the candidates, with ``scores`` float32 [M] of the blend.
        diversity: how much.
        categories: int32 [items of the log], 0 for none.
    """
    no_query, no_brand = np.zeros(len(scores), np.float32), np.zeros(len(scores), np.int32)
    signals = table.signals
    traits = Traits(signals.rows, categories[table.item], no_brand, signals.popular)
    ranked = Ranked(table.basket, no_query, scores, table.item)
    fixed = np.full((len(table.baskets), SHOWN), FREE, np.int64)
    return compose(ranked, fixed, (), Variety(diversity, traits))


def baseline_lists(
    log: EventLog, asked: Baskets, *, counts: Transitions, repeats_allowed: bool
) -> dict[str, Lists]:
    """The lists of every baseline.

    Args:
        log: all rows; those before each question are used.
        asked: what all contenders are asked.
        counts: those that have learned what came before the judged days.
        repeats_allowed: False leaves out what is in the history.
    """
    found = {"popular": _popular(log, asked, repeats_allowed)}
    # Where what someone has bought may not come back, habits have nothing to say.
    if repeats_allowed:
        found["frequent, full history"] = FrequentThenPopular(log, None).rank(asked, DEPTH)
        found["frequent, profile history"] = FrequentThenPopular(log).rank(asked, DEPTH)
    return {name: _padded(ranked) for name, ranked in found.items()} | {
        "counts": _best_of_all(counts, cases_of(asked, repeats_allowed))
    }


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
