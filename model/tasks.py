"""Tasks: answers of each kind (click, cart, purchase, ...) are learned apart, and one is served.

What one looks at next is not what one buys next, and yet each tells of the other: the network
learns all of them, each with its own view of the state (``Network.for_tasks``). A kind that is
frequent would drown the others, so that each weighs its own share in the loss.
"""

import math
from collections.abc import Iterable

import numpy as np

from model.dataset import EventLog
from model.events import KIND_NAMES

BALANCE = 0.5
"""Of a kind that is n times as frequent as the served one each answer weighs 1 / sqrt(n): between
all answers alike (0) and all kinds alike (1), as languages are balanced by Arivazhagan et al.,
"Massively Multilingual Neural Machine Translation in the Wild", 2019."""


def kind_of(task: str) -> int:
    """The number of a task.

    Raises:
        ValueError: there is no such task.
    """
    for kind, name in KIND_NAMES.items():
        if name == task:
            return kind
    raise ValueError(f"there is no task {task!r}; one of {', '.join(KIND_NAMES.values())}")


def served_kind(log: EventLog, task: str | None) -> int | None:
    """The kind of a task; None for none, that is, for what ``model.dataset.target_kind`` says of
    the days before the test.

    Raises:
        ValueError: there is no such task, or none of it in the log.
    """
    if task is None:
        return None
    kind = kind_of(task)
    if not (log.kinds == kind).any():
        found = ", ".join(KIND_NAMES[each] for each in np.unique(log.kinds).tolist())
        raise ValueError(f"the log holds no {task}, only {found}; name one of these as the task")
    return kind


def task_weights(
    log: EventLog, served: int, asked: Iterable[tuple[str, float]] = ()
) -> dict[int, float]:
    """What a basket of each kind weighs in the loss, for the kinds of a log.

    Args:
        log: that is learned from.
        served: the kind that lists are made for; it weighs 1, and is always there.
        asked: task and weight, where ``BALANCE`` is not to decide; one of 0 is not learned.

    Raises:
        ValueError: there is no such task, its weight is none, or that of the served one is 0.
    """
    firsts = log.moments
    moment = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(log)))
    width = max(KIND_NAMES) + 1
    baskets = np.bincount(np.unique(moment * width + log.kinds) % width, minlength=width)
    weights = {served: 1.0}
    for kind in np.flatnonzero(baskets).tolist():
        weights[kind] = min(1.0, float(max(baskets[served], 1) / baskets[kind])) ** BALANCE
    for task, weight in asked:
        if not 0 <= weight < math.inf:
            raise ValueError(f"task {task} weighs {weight:g}; give a number of 0 or more")
        if (kind := kind_of(task)) == served and not weight:
            raise ValueError(f"task {task} is the one that is served; it must weigh more than 0")
        if kind in weights:
            weights[kind] = weight
    return {kind: weight for kind, weight in sorted(weights.items()) if weight}
