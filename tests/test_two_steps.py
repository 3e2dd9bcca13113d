"""Two steps by hand: through an item, to what follows it."""

import numpy as np
import pytest

from model.ranks import Ranks, judge
from model.sequences import Cases, Sequences
from model.transitions import Transitions, TransitionSettings
from model.two_steps import TwoSteps
from tests.sequence_shop import named

PLAIN = TransitionSettings(
    gap_decay=1.0,
    gap_power=0.0,
    backward=0.0,
    count_power=1.0,
    row_damping=1.0,
    target_damping=0.0,
    history_decay=0.5,
    repeat=0.0,
    back_off=0.0,
)


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def counts() -> Transitions:
    return Transitions(ndcg, start=PLAIN)


def chain() -> Sequences:
    """b follows a in two cases of three, else c; d follows b, and e follows c."""
    return named(["ab", "ab", "ac", "bd", "ce"])


def test_chances_are_multiplied_along_the_way() -> None:
    one = counts()
    method = TwoSteps(one, one)
    method.fit(chain())
    [scores] = method.scores(named(["a"], "abcde"))
    assert scores.tolist() == pytest.approx([0, 0, 0, 2 / 3, 1 / 3])


def test_only_the_best_first_steps_are_taken() -> None:
    one = counts()
    method = TwoSteps(one, one, breadth=1)
    method.fit(chain())
    [scores] = method.scores(named(["a"], "abcde"))
    assert scores.tolist() == pytest.approx([0, 0, 0, 1, 0])
    assert method.settings() == {"breadth": 1}


def test_what_one_has_is_no_step_and_a_stranger_has_none() -> None:
    one = counts()
    method = TwoSteps(one, one)
    method.fit(chain())
    # b is had already, so c alone is the step from a; nothing is known of an empty history.
    both, nothing = method.scores(named(["ba", ""], "abcde"))
    assert both[4] > 0
    assert both[0] == both[1] == 0
    assert not nothing.any()


def test_another_first_step_and_learning_anew() -> None:
    first, second = counts(), counts()
    method = TwoSteps(first, second)
    method.fit(chain())
    answers = np.array([3], np.int32)
    cases = Cases.single(named(["a"], "abcde"), answers, seen_excluded=True)
    assert judge(method, cases).hit(1).mean() == 1.0
    method.refit(named(["ac", "ce", "bd"], "abcde"))
    [scores] = method.scores(named(["a"], "abcde"))
    assert scores.tolist() == pytest.approx([0, 0, 0, 0, 1])


def test_parts_that_are_fitted_are_left_alone() -> None:
    one = counts()
    one.fit(chain())
    method = TwoSteps(one, one, parts_fitted=True)
    method.fit(named(["ac"], "abcde"))
    [scores] = method.scores(named(["a"], "abcde"))
    assert scores[3] == pytest.approx(2 / 3)
