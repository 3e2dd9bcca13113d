"""Calibration by hand, and of scores whose probabilities are true by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import calibrate, list_probability


def test_the_probability_of_a_list_by_hand() -> None:
    scores = np.log(np.array([1.0, 4.0, 5.0, 2.0, 3.0, 7.0])).astype(np.float32)
    found = list_probability(scores, np.array([0, 3, 3, 5, 6]), 2)
    # Of 1, 4, 5 the best two; of nothing, nothing; of 2 and 3 both; of one, that one.
    assert found == pytest.approx([0.9, 0.0, 1.0, 1.0], abs=1e-6)


def test_adding_a_number_to_all_scores_changes_nothing() -> None:
    scores = np.random.default_rng(0).normal(size=30).astype(np.float32)
    starts = np.array([0, 10, 30])
    ours = list_probability(scores, starts, 3)
    assert list_probability(scores + 500, starts, 3) == pytest.approx(ours, rel=1e-3)


def test_no_candidate_at_all() -> None:
    assert list_probability(np.empty(0, np.float32), np.zeros(3, np.int64), 5).tolist() == [0, 0]


def test_bins_and_error_by_hand() -> None:
    found = calibrate(np.array([0.1, 0.3, 0.8, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]), bins=2)
    assert [(each.low, each.high, each.cases) for each in found.bins] == [(0, 0.5, 2), (0.5, 1, 2)]
    assert [each.predicted for each in found.bins] == pytest.approx([0.2, 0.9])
    assert [each.happened for each in found.bins] == pytest.approx([0.5, 1.0])
    assert found.ece == pytest.approx((2 * 0.3 + 2 * 0.1) / 4)
    assert found.predicted == pytest.approx(0.55)
    assert found.happened == pytest.approx(0.75)


def test_a_bin_without_a_case_is_left_out() -> None:
    assert [each.low for each in calibrate(np.array([0.95]), np.array([1.0])).bins] == [0.9]


def test_picks_drawn_from_the_softmax_are_calibrated_and_others_are_not() -> None:
    rng = np.random.default_rng(2)
    cases, candidates, count = 4000, 12, 3
    scores = rng.normal(scale=1.5, size=(cases, candidates))
    odds = np.exp(scores)
    odds /= odds.sum(axis=1, keepdims=True)
    picks = (odds.cumsum(axis=1) < rng.random((cases, 1))).sum(axis=1)
    best = np.argsort(-scores, axis=1)[:, :count]
    taken = (best == picks[:, None]).any(axis=1).astype(np.float64)
    starts = np.arange(cases + 1) * candidates
    honest = list_probability(scores.ravel().astype(np.float32), starts, count)
    boastful = list_probability(3 * scores.ravel().astype(np.float32), starts, count)
    assert calibrate(honest, taken).ece < 0.04
    assert calibrate(boastful, taken).ece > 0.15


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50),
    st.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_the_bins_hold_every_case_and_the_error_is_bounded(
    pairs: list[tuple[float, float]], bins: int
) -> None:
    predicted, happened = np.array(pairs).T
    found = calibrate(predicted, happened, bins)
    assert sum(each.cases for each in found.bins) == len(pairs)
    assert abs(found.predicted - found.happened) - 1e-9 <= found.ece <= 1 + 1e-9
    for each in found.bins:
        assert each.low - 1e-9 <= each.predicted <= each.high + 1e-9


@pytest.mark.parametrize(("predicted", "happened"), [([], []), ([0.5], []), ([1.5], [1.0])])
def test_what_is_no_probability_is_refused(predicted: list[float], happened: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        calibrate(np.array(predicted), np.array(happened))
