"""How a bundle's scores become probabilities: Platt scaling of each task on validation lists."""

from collections.abc import Mapping

import msgspec

from model.blend import BlendWeights
from model.candidate_table import CandidateTable
from model.dataset import Baskets, EventLog, next_baskets
from model.evaluate import Judge
from model.events import KIND_NAMES, MAX_TIME_MS
from model.platt import TaskCalibration, calibrate_task, expected_error
from model.tasks import kind_of

SERVED_LISTS = 5_000
OTHER_LISTS = 1_000
"""Ten items each: two numbers are known well from so many; candidates of other tasks' baskets are
made for this alone."""


def calibrate_tasks(
    judge: Judge,
    served: CandidateTable,
    others: Mapping[int, Baskets],
    weights: BlendWeights,
) -> dict[str, TaskCalibration]:
    """By task, for the tasks of which there is a basket.

    Args:
        judge: of the graph that ships.
        served: candidates of the validation baskets of the kind that lists are made for.
        others: validation baskets of other kinds, by kind.
        weights: of the blend.
    """
    tables = {served.baskets.target_kind: served}
    for kind, baskets in others.items():
        if len(baskets) and kind not in tables:
            tables[kind] = judge.candidates(baskets.spread(OTHER_LISTS))
    found = {}
    for kind, table in sorted(tables.items()):
        listed = table.listed(weights, SERVED_LISTS)
        if len(listed.scores):
            found[KIND_NAMES[kind]] = calibrate_task(*listed)
    return found


class TaskReliability(msgspec.Struct, frozen=True):
    """What a bundle's probabilities of one task are worth on days that it was not made from."""

    listed: int
    """Items on the lists that were looked at."""
    predicted: float
    """Their mean probability."""
    taken: float
    """Share of them that was taken."""
    ece: float
    """See ``model.platt.expected_error``."""


def judge_tasks(
    judge: Judge,
    log: EventLog,
    start: int,
    calibration: Mapping[str, TaskCalibration],
    weights: BlendWeights,
) -> dict[str, TaskReliability]:
    """Compare the probabilities of a manifest with what happened, by task.

    Args:
        judge: of the bundle's graph.
        log: that the judge was given.
        start: epoch ms; baskets from then on are looked at.
        calibration: of the manifest; tasks without a basket are left out.
        weights: of the manifest's blend.
    """
    found = {}
    for task, calibrated in calibration.items():
        baskets = next_baskets(log, start, MAX_TIME_MS, kind_of(task))
        if not len(baskets):
            continue
        listed = judge.candidates(baskets.spread(OTHER_LISTS)).listed(weights, OTHER_LISTS)
        if len(listed.scores):
            probability = calibrated.platt.probability(listed.scores)
            found[task] = TaskReliability(
                len(probability),
                float(probability.mean()),
                float(listed.taken.mean()),
                expected_error(probability, listed.taken),
            )
    return found
