"""Maximal marginal relevance against the same by hand, and with caps inside the same choice."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.diversity import IN_QUESTION, Diversity, Traits
from model.features import FIRST_ITEM
from model.list_composition import FREE, Cap, Ranked, Variety, compose
from model.pool_table import best_of_lists

LENGTH = 4
NO_DIFFERENCE = 1e-5


def made_up(seed: int, strength: float) -> tuple[Ranked, Variety, int]:
    """Candidates of some lists, a few of them unknown to the network."""
    chance = np.random.default_rng(seed)
    lists = int(chance.integers(1, 4))
    sizes = chance.integers(0, 40, lists)
    owner = np.repeat(np.arange(lists), sizes)
    count = len(owner)
    ranked = Ranked(
        owner,
        chance.choice([0.0, 0.0, 0.5, 1.0], count).astype(np.float32),
        chance.normal(size=count).astype(np.float32),
        np.concatenate([np.arange(size) for size in sizes]).astype(np.int64),
    )
    vectors = chance.normal(size=(12, 3)).astype(np.float32)
    traits = Traits(
        chance.integers(1, 12, count),
        chance.integers(0, 3, count).astype(np.int32),
        chance.integers(0, 3, count).astype(np.int32),
        chance.choice([0.0, 1.0, 30.0], count).astype(np.float32),
    )
    return ranked, Variety(Diversity(strength, vectors, 3), traits), lists


def likeness(variety: Variety, one: int, other: int) -> float:
    rows, categories, brands, _ = variety.traits
    if min(rows[one], rows[other]) < FIRST_ITEM:
        return sum(0.5 for of in (categories, brands) if of[one] == of[other] > 0)
    left, right = (variety.diversity.vectors[rows[each]].astype(float) for each in (one, other))
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def is_made_by_hand(
    found: list[int], ranked: Ranked, variety: Variety, number: int, groups: NDArray[np.int64]
) -> bool:
    """Whether each item of a list, of at most two of a group, was worth most after all above it."""
    owner, match, scores, rows = ranked
    steps = np.ceil(match * 10)
    order = sorted(
        np.flatnonzero(owner == number).tolist(),
        key=lambda each: (-steps[each], -scores[each], rows[each]),
    )
    first = order[: IN_QUESTION * LENGTH]
    highest = max((float(scores[each]) for each in first), default=0)
    popular = variety.traits.popular
    most = max((math.log1p(popular[each]) for each in first), default=0)
    strength, made = variety.diversity.strength, list[int]()

    def worth(each: int) -> float:
        relevance = math.exp((float(scores[each]) - highest) / 2)
        exposure = math.log1p(popular[each]) / (most or 1)
        alike = max([0.0, *(likeness(variety, each, above) for above in made)])
        sameness = alike / 2 + exposure
        return 3 * float(steps[each]) + (1 - strength) * relevance - strength * sameness

    def fits(each: int) -> bool:
        group = groups[each]
        return each not in made and (group < 0 or [groups[at] for at in made].count(group) < 2)

    while len(made) < len(found):
        fitting = [each for each in first if fits(each)]
        behind = [each for each in order if fits(each)]
        chosen = found[len(made)]
        # Of two that are worth the same, rounding decides.
        if fitting and (
            chosen not in fitting or worth(chosen) < max(map(worth, fitting)) - NO_DIFFERENCE
        ):
            return False
        if not fitting and chosen != behind[0]:
            return False
        made.append(chosen)
    return len(made) == LENGTH or not any(map(fits, order))


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.7, 1.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_lists_are_those_made_by_hand(seed: int, strength: float, is_capped: bool) -> None:
    ranked, variety, lists = made_up(seed, strength)
    groups = np.random.default_rng(seed).integers(-1, 4, len(ranked.rows))
    caps = [Cap(groups, 2)] if is_capped else []
    places, ends = compose(ranked, np.full((lists, LENGTH), FREE), caps, variety)
    made = np.split(places, ends[:-1])
    for number in range(lists):
        free = groups if is_capped else np.full(len(groups), -1)
        assert is_made_by_hand(made[number].tolist(), ranked, variety, number, free)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_without_caps_and_diversity_lists_are_the_best(seed: int) -> None:
    ranked, _, lists = made_up(seed, 0.5)
    made = compose(ranked, np.full((lists, LENGTH), FREE))
    best = best_of_lists(*ranked, lists=lists, length=LENGTH)
    assert [each.tolist() for each in made] == [each.tolist() for each in best]


def test_of_two_alike_one_makes_room_for_another() -> None:
    vectors = np.array([[0, 0], [0, 0], [1, 0], [1, 0.1], [0, 1]], np.float32)
    scores = np.array([1, 0.9, 0.5, 0], np.float32)
    none = np.zeros(4, np.int32)
    ranked = Ranked(np.zeros(4, np.int64), np.zeros(4, np.float32), scores, np.arange(4))
    traits = Traits(np.array([2, 3, 4, 4]), none, none, np.zeros(4, np.float32))
    for strength, order in ((0.01, [0, 1, 2, 3]), (0.5, [0, 2, 1, 3])):
        variety = Variety(Diversity(strength, vectors, 2), traits)
        assert compose(ranked, np.full((1, 4), FREE), (), variety).places.tolist() == order


def test_what_is_popular_makes_room_for_what_is_rare_and_nearly_as_good() -> None:
    scores = np.array([3, 0.1, 0, -9], np.float32)
    none, unlike = np.zeros(4, np.int32), np.eye(6, dtype=np.float32)
    ranked = Ranked(np.zeros(4, np.int64), np.zeros(4, np.float32), scores, np.arange(4))
    traits = Traits(np.arange(2, 6), none, none, np.array([90, 90, 0, 90], np.float32))
    for strength, order in ((0.001, [0, 1, 2, 3]), (0.3, [0, 2, 1, 3])):
        variety = Variety(Diversity(strength, unlike, 6), traits)
        assert compose(ranked, np.full((1, 4), FREE), (), variety).places.tolist() == order


@pytest.mark.parametrize("count", [200, 1_000])
def test_caps_look_past_the_first_candidates(count: int) -> None:
    """All but the last few are of one group."""
    groups = np.where(np.arange(count) < count - 3, 0, np.arange(count))
    scores = -np.arange(count, dtype=np.float32)
    ranked = Ranked(np.zeros(count, np.int64), np.zeros(count, np.float32), scores, groups)
    made = compose(ranked, np.full((1, 5), FREE), [Cap(groups, 1)])
    assert made.places.tolist() == [0, count - 3, count - 2, count - 1]


def test_what_is_fixed_counts_for_caps_and_likeness() -> None:
    ranked = Ranked(
        np.zeros(4, np.int64), np.zeros(4, np.float32), np.arange(4, 0, -1).astype(np.float32),
        np.arange(4),
    )  # fmt: skip
    fixed = np.array([[FREE, FREE, 3]])
    cap = Cap(np.array([5, -1, -1, 5]), 1)
    assert compose(ranked, fixed, [cap]).places.tolist() == [1, 2, 3]
    assert compose(ranked, fixed).places.tolist() == [0, 1, 3]


def test_a_short_list_closes_up() -> None:
    ranked = Ranked(
        np.array([0, 1, 1]), np.zeros(3, np.float32), np.ones(3, np.float32), np.arange(3)
    )
    made = compose(ranked, np.array([[FREE, FREE, 0], [2, FREE, FREE]]))
    assert made.places.tolist() == [0, 2, 1]
    assert made.ends.tolist() == [1, 3]
