"""How many candidates the sources that need a catalogue may propose, chosen on validation baskets.

All quotas that are tried are judged on the same candidates, by the blend that is best without these
sources, so that what differs is what they propose. In steps: first ``in_category``, then ``fresh``
beside it, each against none of it.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, blend
from model.candidate_table import CandidateTable
from model.fresh_choices import DEPTH, FittedFresh
from model.intervals import ERRORS, mean_and_error
from model.quotas import SourceQuotas
from model.source_report import QuotaTrial, SourceReport
from model.top_metrics import CUT, ndcg_of_baskets

IN_CATEGORY, FRESH = (0, 30, 100), (0, 30)
TRIED = tuple(
    SourceQuotas(in_category=in_category, fresh=fresh)
    for in_category in IN_CATEGORY
    for fresh in FRESH
)
"""The first one is none of either."""
MOST_LOST = 0.005
"""Share of the NDCG@10 that new items may cost; as much as a smaller graph or an index may."""
RULE = (
    "a quota of in_category or fresh above 0 is chosen where NDCG@10 on validation gains more "
    f"than {ERRORS:g} standard errors; one of fresh also where new items' recall@{DEPTH} does, "
    f"and NDCG@10 loses at most {ERRORS:g} standard errors and {MOST_LOST:.1%}; new gets a place "
    f"where lists lose at most {MOST_LOST:.1%} of NDCG@10 by it, were what is tried never taken"
)


class ChosenQuotas(NamedTuple):
    """What was chosen, and the figures by which."""

    number: int
    """Of those tried."""
    quotas: SourceQuotas
    report: SourceReport


class _Judged(NamedTuple):
    """What lists are worth, basket by basket."""

    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]
    """Of baskets that hold new items."""


def choose_quotas(
    table: CandidateTable, weights: BlendWeights, is_new: NDArray[np.bool_], fresh: FittedFresh
) -> ChosenQuotas:
    """The best of ``TRIED``.

    Args:
        table: candidates of the validation baskets under all of them.
        weights: the blend that is best under the first of them.
        is_new: bool [items of the log]: those that came up in the validation days.
        fresh: how new items are ordered in the table, for the report.
    """
    judged = [_judged(table.under(number), weights, is_new) for number in range(len(TRIED))]
    number_of = {(each.in_category, each.fresh): at for at, each in enumerate(TRIED)}
    in_category = _best([number_of[most, 0] for most in IN_CATEGORY], judged, by_new=False)
    beside = [number_of[TRIED[in_category].in_category, most] for most in FRESH]
    number = _best(beside, judged, by_new=True)
    lost = _place_lost(table.under(number), weights)
    report = SourceReport(
        rule=RULE,
        baskets=len(table.baskets),
        baskets_with_new=len(judged[0].recall),
        trials=[
            _trial(each, len(table.under(at).item) / len(table.baskets), judged[at], judged[0])
            for at, each in enumerate(TRIED)
        ],
        new_place_lost=lost,
        fresh_baskets=fresh.baskets,
        fresh_taken=fresh.taken,
        fresh_learned=fresh.learned,
        fresh_recall=fresh.recall[1],
        fresh_recall_by_default=fresh.recall[0],
    )
    quotas = msgspec.structs.replace(TRIED[number], new=int(lost <= MOST_LOST))
    return ChosenQuotas(number, quotas, report)


def _best(numbers: list[int], judged: list[_Judged], *, by_new: bool) -> int:
    """Of those that earn their place beside the first, that of the best NDCG@10; or the first."""
    none = judged[numbers[0]]
    earned = [number for number in numbers[1:] if _earns(judged[number], none, by_new=by_new)]
    return max(earned, key=lambda number: judged[number].ndcg.mean(), default=numbers[0])


def _earns(some: _Judged, none: _Judged, *, by_new: bool) -> bool:
    gain, error = mean_and_error(some.ndcg - none.ndcg)
    if gain > ERRORS * error:
        return True
    if not by_new or not len(none.recall):
        return False
    found, found_error = mean_and_error(some.recall - none.recall)
    is_harmless = gain >= -ERRORS * error and gain >= -MOST_LOST * none.ndcg.mean()
    return is_harmless and found > ERRORS * found_error


def _judged(table: CandidateTable, weights: BlendWeights, is_new: NDArray[np.bool_]) -> _Judged:
    lists = table.top(blend(weights, table.signals), DEPTH)
    recall = []
    for number, each in enumerate(lists):
        targets = table.baskets.targets(number)
        targets = targets[is_new[targets]]
        if len(targets):
            recall.append(np.isin(targets, each).mean())
    return _Judged(ndcg_of_baskets(lists, table.baskets.target_sets()), np.array(recall))


def _place_lost(table: CandidateTable, weights: BlendWeights) -> float:
    """Share of the NDCG@10 that the last place is worth."""
    targets, lists = table.baskets.target_sets(), table.lists(weights)
    whole = ndcg_of_baskets(lists, targets).mean()
    if not whole:
        return 0.0
    return float(1 - ndcg_of_baskets([each[: CUT - 1] for each in lists], targets).mean() / whole)


def _trial(quotas: SourceQuotas, candidates: float, some: _Judged, none: _Judged) -> QuotaTrial:
    gain, error = mean_and_error(some.ndcg - none.ndcg)
    found: tuple[float, float] | tuple[None, None] = (None, None)
    if len(none.recall):
        found = mean_and_error(some.recall - none.recall)
    return QuotaTrial(
        in_category=quotas.in_category,
        fresh=quotas.fresh,
        candidates=round(candidates, 1),
        ndcg=float(some.ndcg.mean()),
        ndcg_gain=gain,
        ndcg_error=error,
        new_recall=float(some.recall.mean()) if len(some.recall) else None,
        new_gain=found[0],
        new_error=found[1],
    )
