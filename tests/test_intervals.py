"""Bootstrap intervals: they hold the mean, repeat, and widen where users are few."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.intervals import Interval, bootstrap

QUICK = settings(max_examples=60, deadline=None)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values and the users that they belong to."""
    size = draw(st.integers(1, 30))
    values = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    owners = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    return np.array(values), np.array(owners, np.int64)


def one(values: NDArray[np.float64], owners: NDArray[np.int64], seed: int = 1) -> Interval:
    return bootstrap({"it": values}, owners, seed=seed, resamples=100)["it"]


@given(cases())
@QUICK
def test_an_interval_holds_its_mean(drawn: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    found = one(*drawn)
    assert found.mean == pytest.approx(drawn[0].mean())
    assert found.low <= found.mean <= found.high
    assert drawn[0].min() - 1e-12 <= found.low
    assert found.high <= drawn[0].max() + 1e-12


@given(cases(), st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_the_cases_means_nothing(
    drawn: tuple[NDArray[np.float64], NDArray[np.int64]], chance: Random
) -> None:
    values, owners = drawn
    order = list(range(len(values)))
    chance.shuffle(order)
    ours, theirs = one(values, owners), one(values[order], owners[order])
    for name in ("mean", "low", "high"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-12)


def test_the_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(4000)
    found = bootstrap({"it": values}, np.arange(4000), seed=1)["it"]
    assert found.margin == pytest.approx(1.96 * values.std() / np.sqrt(4000), rel=0.1)
    assert found.low < 0.5 < found.high


def test_cases_of_one_user_are_not_independent() -> None:
    # Ten users of a hundred equal cases each: ten things are known, and not a thousand.
    values = np.repeat(np.arange(10) / 10, 100)
    of_users = one(values, np.repeat(np.arange(10), 100))
    of_cases = one(values, np.arange(1000))
    assert of_users.mean == of_cases.mean
    assert of_users.margin > 5 * of_cases.margin


def test_one_user_has_no_width() -> None:
    found = one(np.array([0.0, 1.0]), np.zeros(2, np.int64))
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)


def test_the_seed_decides() -> None:
    values, owners = np.random.default_rng(3).random(50), np.arange(50)
    assert one(values, owners) == one(values, owners)
    assert one(values, owners) != one(values, owners, seed=2)


def test_all_figures_stand_on_the_same_resamples() -> None:
    values = np.random.default_rng(3).random(50)
    found = bootstrap({"a": values, "b": values + 1.0}, np.arange(50), seed=4)
    assert found["b"].low - found["a"].low == pytest.approx(1.0)
    assert found["b"].high - found["a"].high == pytest.approx(1.0)


@pytest.mark.parametrize(("values", "owners"), [([], []), ([1.0], [0, 1])])
def test_nothing_to_draw_from_is_refused(values: list[float], owners: list[int]) -> None:
    with pytest.raises(ValueError, match="one value for each"):
        bootstrap({"it": np.array(values)}, np.array(owners, np.int64), seed=0)
