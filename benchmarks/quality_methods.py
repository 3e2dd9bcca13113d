"""The contenders of a data set, each with its share of the time."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.quality_content import content_of
from benchmarks.quality_data import Dataset, Row
from model.choice import Budget
from model.content_neighbours import ContentNeighbours
from model.ease import MOST_ITEMS, Ease
from model.factorization import Factorization
from model.habits import Habits
from model.journal import Journal
from model.method import Method
from model.mixture import BUDGET, Mixture
from model.neighbours import ItemNeighbours
from model.popularity import Popularity
from model.sequence_neighbours import SequenceNeighbours, SequenceSettings
from model.transitions import Transitions, TransitionSettings
from model.two_steps import TwoSteps

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


SHORT = {
    "ml1m": replace(START["ml1m"], history_decay=0.02, backward=0.03, gap_decay=0.5, gap_power=0.5),
    "diginetica": replace(START["diginetica"], recency=8.0),
}
"""A second scale of counts, of a shorter memory: what follows the newest item alone, or what the
newest sessions did. One scale cannot be both without forgetting the rest."""
NEIGHBOUR_START = {
    "beauty": SequenceSettings(
        history_decay=0.3, rarity_power=0.5, length_power=0.25, gap_decay=0.7, target_damping=0.05,
    ),
    # Long histories meet many sequences: so few of them still take most of the time.
    "ml1m": SequenceSettings(neighbours=200, occurrences=200),
    "diginetica": SequenceSettings(
        neighbours=200, rarity_power=1.5, recency=2.0, backward=1.0,
    ),
}  # fmt: skip
"""The same for sequence-kNN."""


@dataclass(frozen=True)
class Terms:
    """What a method is made with."""

    budget: Budget
    seed: int
    journal: Journal | None
    checkpoint: Path | None
    """Where a training that was broken off goes on from."""
    fitted: Mapping[str, Method]
    """The methods before it, fitted on the same training part."""


@dataclass(frozen=True)
class Contender:
    """A method and the part of all time that it may take to choose its settings."""

    name: str
    share: float
    make: Callable[[Terms], Method]
    needs: frozenset[str] = frozenset()
    """Methods that have to be fitted before it, which it is made of."""
    of_others: bool = False
    """Whether it is made of all methods before it."""
    derived: bool = False
    """Whether it has nothing of its own to learn anew once what it is made of has."""


@dataclass(frozen=True)
class LeftOut:
    """A method that does not take part, and why."""

    name: str
    reason: str


def contenders(name: str, data: Dataset, folder: Path) -> Iterator[Contender | LeftOut]:
    """All methods of a protocol, in the order of the table."""
    worth = data.objective
    yield Contender("popularity", 0.02, lambda terms: Popularity(worth, seed=terms.seed))
    yield Contender("item_knn", 0.05, lambda terms: ItemNeighbours(worth, **_search(terms)))
    if data.sequences.item_count <= MOST_ITEMS:
        yield Contender("ease", 0.05, lambda terms: Ease(worth, **_search(terms)))
    else:
        yield LeftOut("ease", f"more than {MOST_ITEMS:,} items")
    if find_spec("implicit"):
        yield Contender("als", 0.05, lambda terms: Factorization(worth, **_search(terms)))
    else:
        yield LeftOut("als", "implicit is not installed; run: pip install implicit")
    if data.sequences.times is not None:
        yield Contender("habits", 0.05, lambda terms: Habits(worth, **_search(terms)))
    yield Contender(
        "sequence_knn",
        0.1,
        lambda terms: SequenceNeighbours(worth, start=NEIGHBOUR_START.get(name), **_search(terms)),
    )
    yield Contender(
        "counts",
        0.1,
        lambda terms: Transitions(worth, start=START.get(name), **_search(terms)),
    )
    if short := SHORT.get(name):
        yield Contender(
            "counts_short", 0.01, lambda terms: Transitions(worth, start=short, grid={})
        )
    yield Contender(
        "counts_twice",
        0.01,
        lambda terms: _two_steps("counts", terms),
        needs=frozenset({"counts"}),
        derived=True,
    )
    yield from _of_content(name, data, folder)
    yield _network(name, data, folder)
    yield Contender("blend", 0.1, lambda terms: _blend(data, terms), of_others=True, derived=True)
    yield _reranked(data)


def _of_content(name: str, data: Dataset, folder: Path) -> Iterator[Contender | LeftOut]:
    """What knows more of an item than its id."""
    content = content_of(name, folder, data.sequences)
    if content is None:
        for each in ("content", "content_then_counts"):
            yield LeftOut(each, "the folder says nothing about its items")
        return
    yield Contender(
        "content",
        0.05,
        lambda terms: ContentNeighbours(data.objective, content, **_search(terms)),
    )
    yield Contender(
        "content_then_counts",
        0.01,
        lambda terms: _two_steps("content", terms),
        needs=frozenset({"content", "counts"}),
        derived=True,
    )


def _network(name: str, data: Dataset, folder: Path) -> Contender | LeftOut:
    """The network; torch is heavy, and only here."""
    if not find_spec("torch"):
        return LeftOut("network", "torch is not installed; run: pip install 'nextclick[train]'")
    network = import_module("benchmarks.quality_network")
    return Contender(
        "network",
        0.5,
        lambda terms: network.network_for(
            name, folder, data, terms.budget, terms.seed, checkpoint=terms.checkpoint
        ),
    )


def _two_steps(first: str, terms: Terms) -> Method:
    counts = terms.fitted["counts"]
    assert isinstance(counts, Transitions)
    return TwoSteps(terms.fitted[first], counts, parts_fitted=True)


def _search(terms: Terms) -> dict[str, Any]:
    return {"budget": terms.budget, "seed": terms.seed, "journal": terms.journal}


def _blend(data: Dataset, terms: Terms) -> Method:
    return Mixture(
        data.objective,
        terms.fitted,
        logits={"network"},
        sources_fitted=True,
        budget=replace(BUDGET, seconds=terms.budget.seconds),
        seed=terms.seed,
    )


def _reranked(data: Dataset) -> Contender | LeftOut:
    """What all methods propose, ordered by a network that looks at each case."""
    if not find_spec("torch"):
        return LeftOut("reranked", "torch is not installed; run: pip install 'nextclick[train]'")
    module = import_module("model.reranker")

    def make(terms: Terms) -> Method:
        sources = {n: each for n, each in terms.fitted.items() if not isinstance(each, Mixture)}
        method: Method = module.Reranker(
            data.objective,
            sources,
            logits={"network"},
            sources_shared=True,
            in_order=data.in_order,
            seed=terms.seed,
        )
        return method

    # Its time does not depend on the budget.
    return Contender("reranked", 0.0, make, of_others=True)


def with_what_they_need(
    asked: Collection[str], everyone: Sequence[Contender | LeftOut]
) -> list[Contender | LeftOut]:
    """The methods asked for, and those that they are made of.

    Raises:
        ValueError: one has no such name.
    """
    if unknown := set(asked) - {each.name for each in everyone}:
        raise ValueError(
            f"there is no method {', '.join(sorted(unknown))}; "
            f"there are {', '.join(each.name for each in everyone)}"
        )
    needed = set(asked)
    for each in everyone:
        if isinstance(each, Contender) and each.name in asked:
            needed |= each.needs
    return [each for each in everyone if each.name in needed]


def fits(contender: Contender, row: Row) -> bool:
    """Whether a method can say anything about a row: habits know only what was seen."""
    return contender.name != "habits" or not row.split.test.seen_excluded
