"""The temperature that is found is the one that was planted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.sequences import Cases, Sequences
from model.temperature import best_temperature

ITEMS, CASES = 6, 3_000


class Planted:
    """Scores by the only item of a history: the logits of the answers, times a factor."""

    def __init__(self, factor: float) -> None:
        self.logits = np.random.default_rng(1).normal(0, 2, (ITEMS, ITEMS)) + 5.0
        self.factor = factor

    def scores(self, histories: Sequences) -> NDArray[np.float64]:
        return self.logits[histories.items] * self.factor


def cases(*, seen_excluded: bool) -> Cases:
    """Answers drawn from the softmax of the logits, without the seen item where it is out."""
    chance = np.random.default_rng(2)
    items = chance.integers(0, ITEMS, CASES)
    logits = Planted(1.0).logits[items] + chance.gumbel(size=(CASES, ITEMS))
    if seen_excluded:
        logits[np.arange(CASES), items] = -np.inf
    histories = Sequences.from_lists(items[:, None].tolist(), [str(n) for n in range(ITEMS)])
    return Cases.single(
        histories, logits.argmax(axis=1).astype(np.int32), seen_excluded=seen_excluded
    )


@pytest.mark.parametrize("seen_excluded", [False, True])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
def test_scores_that_are_too_sure_or_too_shy_are_put_right(
    factor: float, seen_excluded: bool
) -> None:
    found = best_temperature(Planted(factor), cases(seen_excluded=seen_excluded))
    assert found == pytest.approx(factor, rel=0.12)


def test_an_answer_that_was_seen_does_not_count() -> None:
    fair = cases(seen_excluded=True)
    seen = Cases.single(fair.histories, fair.histories.items, seen_excluded=True)
    both = np.concatenate([np.arange(CASES), np.arange(CASES)])
    mixed = Cases(
        fair.histories.take(both),
        np.concatenate([fair.targets, seen.targets]),
        np.arange(2 * CASES + 1),
        seen_excluded=True,
    )
    assert best_temperature(Planted(1.6), mixed) == best_temperature(Planted(1.6), fair)
