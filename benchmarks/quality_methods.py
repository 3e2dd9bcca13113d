"""The contenders of a data set, each with its share of the time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.quality_data import Dataset, Row
from model.choice import Budget
from model.ease import MOST_ITEMS, Ease
from model.factorization import Factorization
from model.habits import Habits
from model.method import Method
from model.neighbours import ItemNeighbours
from model.popularity import Popularity
from model.transitions import Transitions, TransitionSettings

START = {
    "beauty": TransitionSettings(
        gap_decay=1.0, gap_power=0.5, backward=0.3, count_power=1.0, row_damping=0.4,
        target_damping=0.1, history_decay=0.6,
    ),
    "ml1m": TransitionSettings(
        gap_decay=0.8, gap_power=0.15, backward=0.1, count_power=0.5, row_damping=0.6,
        target_damping=0.2, history_decay=0.7, back_off=0.0003,
    ),
    "diginetica": TransitionSettings(
        gap_decay=0.85, gap_power=0.15, backward=0.6, count_power=0.9, row_damping=0.6,
        target_damping=0.15, history_decay=0.7, repeat=1.0, recency=1.0, back_off=0.0001,
    ),
    "online_retail": TransitionSettings(
        gap_decay=0.95, gap_power=0.3, backward=1.0, count_power=0.9, row_damping=0.5,
        target_damping=0.3, history_decay=0.9, repeat=1.0,
    ),
}  # fmt: skip
"""Where the choice begins; it moves on from there. From earlier choices on validation."""


@dataclass(frozen=True)
class Contender:
    """A method and the part of all time that it may take to choose its settings."""

    name: str
    share: float
    make: Callable[[Budget, int], Method]
    """From its budget and the seed."""


@dataclass(frozen=True)
class LeftOut:
    """A method that does not take part, and why."""

    name: str
    reason: str


def contenders(name: str, data: Dataset) -> Iterator[Contender | LeftOut]:
    """All methods, in the order of the table."""
    worth = data.objective
    yield Contender("popularity", 0.05, lambda _, seed: Popularity(worth, seed=seed))
    yield Contender(
        "item_knn", 0.15, lambda budget, seed: ItemNeighbours(worth, budget=budget, seed=seed)
    )
    if data.sequences.item_count <= MOST_ITEMS:
        yield Contender("ease", 0.1, lambda budget, seed: Ease(worth, budget=budget, seed=seed))
    else:
        yield LeftOut("ease", f"more than {MOST_ITEMS:,} items")
    if find_spec("implicit"):
        yield Contender(
            "als", 0.15, lambda budget, seed: Factorization(worth, budget=budget, seed=seed)
        )
    else:
        yield LeftOut("als", "implicit is not installed; run: pip install implicit")
    if data.sequences.times is not None:
        yield Contender("habits", 0.15, lambda budget, _: Habits(worth, budget=budget))
    yield Contender(
        "counts",
        0.4,
        lambda budget, seed: Transitions(worth, start=START.get(name), budget=budget, seed=seed),
    )


def fits(contender: Contender, row: Row) -> bool:
    """Whether a method can say anything about a row: habits know only what was seen."""
    return contender.name != "habits" or not row.split.test.seen_excluded
