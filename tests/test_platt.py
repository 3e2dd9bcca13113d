"""Platt scaling: answers that can be worked out, and sigmoids that were planted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.platt import Platt, TaskCalibration, calibrate_task, expected_error, fit_platt


def planted(
    a: float, b: float, size: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores far from zero, and outcomes drawn with the probabilities of the sigmoid."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(7, 3, size).astype(np.float32)
    return scores, chance.random(size) < 1 / (1 + np.exp(-(a * scores + b)))


def log_odds(share: float) -> float:
    return float(np.log(share / (1 - share)))


def test_two_scores_by_hand() -> None:
    # 3 of 4 at score 1 and 1 of 4 at score 0; Platt's targets for 4 and 4 are 5/6 and 1/6.
    scores = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    taken = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    low, high = (5 / 6 + 3 / 6) / 4, (3 * 5 / 6 + 1 / 6) / 4
    found = fit_platt(scores, taken)
    assert found.b == pytest.approx(log_odds(low), abs=1e-6)
    assert found.a == pytest.approx(log_odds(high) - log_odds(low), abs=1e-6)
    assert found.probability(np.array([0.0, 1.0])) == pytest.approx([low, high], abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(1.0, -8.0), (0.3, -4.0), (-0.5, 2.0)])
def test_a_planted_sigmoid_is_found(a: float, b: float) -> None:
    found = fit_platt(*planted(a, b, 40_000))
    assert found.a == pytest.approx(a, abs=0.05)
    assert found.b == pytest.approx(b, abs=0.4)


def test_what_never_or_always_happened_is_not_impossible_or_certain() -> None:
    scores = np.arange(8, dtype=np.float32)
    never = fit_platt(scores, np.zeros(8, bool)).probability(scores)
    assert never == pytest.approx(np.full(8, 1 / 10), abs=1e-6)
    always = fit_platt(scores, np.ones(8, bool)).probability(scores)
    assert always == pytest.approx(np.full(8, 9 / 10), abs=1e-6)


def test_scores_that_say_nothing_give_the_share() -> None:
    found = fit_platt(np.full(6, 3.5, np.float32), np.array([1, 1, 0, 0, 0, 0], bool))
    smoothed = (2 * 3 / 4 + 4 / 6) / 6
    assert found.probability(np.array([3.5]))[0] == pytest.approx(smoothed, abs=1e-6)


def test_scores_that_tell_all_give_finite_numbers() -> None:
    found = fit_platt(np.arange(20, dtype=np.float32), np.arange(20) >= 10)
    assert np.isfinite([found.a, found.b]).all()
    assert found.a > 0
    assert -found.b / found.a == pytest.approx(9.5, abs=1e-3)


# In steps that no shift swallows: what it makes one score cannot be told apart any more.
SCORES = st.integers(-50 * 64, 50 * 64).map(lambda steps: steps / 64)


@given(
    st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=40),
    st.floats(0.1, 10),
    st.floats(-100, 100),
)
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_scores_does_not_matter(
    pairs: list[tuple[float, bool]], factor: float, shift: float
) -> None:
    scores = np.array([score for score, _ in pairs], np.float64)
    taken = np.array([each for _, each in pairs])
    ours = fit_platt(scores, taken).probability(scores)
    theirs = fit_platt(factor * scores + shift, taken).probability(factor * scores + shift)
    assert np.isfinite(ours).all()
    assert theirs == pytest.approx(ours, abs=1e-3)


def test_the_error_by_hand() -> None:
    predicted = np.array([0.9, 0.1, 0.3, 0.7])
    taken = np.array([True, False, True, True])
    # Two and two, lowest first: abs(.2 - .5) and abs(.8 - 1).
    assert expected_error(predicted, taken, bins=2) == pytest.approx((0.3 + 0.2) / 2)
    assert expected_error(np.array([0.25]), np.array([True])) == pytest.approx(0.75)


def test_rare_outcomes_are_told_apart_though_all_are_below_a_tenth() -> None:
    predicted = np.repeat([0.01, 0.05], 1000)
    taken = np.zeros(2000, bool)
    taken[:50], taken[1000:1010] = True, True
    assert predicted.mean() == pytest.approx(taken.mean())
    assert expected_error(predicted, taken, bins=2) == pytest.approx(0.04)


def test_a_task_is_calibrated_on_users_that_were_not_fitted_on() -> None:
    scores, taken = planted(0.8, -7.0, 20_000)
    owners = np.repeat(np.arange(2000), 10)
    found = calibrate_task(scores, taken, owners)
    assert (found.users, found.listed) == (2000, 20_000)
    assert found.taken == pytest.approx(taken.mean())
    assert found.platt == fit_platt(scores, taken)
    assert found.ece_before > 0.4
    assert found.ece_after < 0.02


def test_what_holds_for_half_of_the_users_only_is_no_calibration() -> None:
    scores = np.tile(np.arange(100, dtype=np.float32), 2)
    owners = np.repeat([0, 1], 100)
    taken = np.where(owners == 0, scores > 50, scores <= 50)
    # Each half learns the opposite of what the other shows.
    assert calibrate_task(scores, taken, owners).ece_after > 0.8


def test_one_user_is_measured_on_himself() -> None:
    found = calibrate_task(np.array([1.0, 2.0]), np.array([False, True]), np.zeros(2, np.int64))
    assert isinstance(found, TaskCalibration)
    assert found.users == 1


@pytest.mark.parametrize(
    ("scores", "taken", "sentence"),
    [([], [], "0 scores"), ([1.0], [True, False], "1 scores for 2"), ([np.inf], [True], "finite")],
)
def test_what_cannot_be_fitted_is_refused(
    scores: list[float], taken: list[bool], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit_platt(np.array(scores), np.array(taken, bool))


def test_the_sigmoid_of_far_scores_is_a_probability() -> None:
    assert Platt(1.0, 0.0).probability(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
