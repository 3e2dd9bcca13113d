"""Sequence-kNN by hand: which sequences are alike, and what they give."""

import numpy as np
import pytest

from model.ranks import Ranks, judge
from model.sequence_neighbours import SequenceNeighbours, SequenceSettings
from model.splits import leave_one_out
from tests.sequence_shop import circle, named

PLAIN = SequenceSettings(
    history_decay=0.5,
    rarity_power=0.0,
    length_power=0.0,
    gap_decay=0.5,
    backward=0.25,
)


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def scored(train: list[str], history: str, **changes: float) -> dict[str, float]:
    letters = "".join(sorted(set("".join(train))))
    method = SequenceNeighbours(ndcg, start=SequenceSettings(**{**vars(PLAIN), **changes}))
    method.fit(named(train, letters))
    [scores] = method.scores(named([history], letters))
    return dict(zip(letters, scores.tolist(), strict=True))


def test_items_near_the_newest_shared_one() -> None:
    found = scored(["xabcd", "ef"], "a")
    assert found == pytest.approx({"a": 0, "b": 1, "c": 0.5, "d": 0.25, "x": 0.25, "e": 0, "f": 0})


def test_older_events_of_the_history_count_less_and_add_up() -> None:
    # b is the newest: the sequence of both is met there and is alike by 1 + 0.5.
    found = scored(["abc", "ad"], "ab")
    assert found == pytest.approx({"a": 1.5 * 0.25, "b": 0, "c": 1.5, "d": 0.5})


def test_only_those_most_alike_are_listened_to() -> None:
    found = scored(["abc", "ad"], "ab", neighbours=1)
    assert found["c"] == 1.5
    assert found["d"] == 0


def test_only_the_newest_sequences_of_an_item_are_looked_at() -> None:
    assert scored(["ab", "ac"], "a", occurrences=1) == {"a": 0, "b": 0, "c": 1}


def test_later_sequences_count_double() -> None:
    assert scored(["ab", "ac"], "a", recency=1.0) == pytest.approx({"a": 0, "b": 0.5, "c": 1})


def test_long_sequences_and_common_items_say_less() -> None:
    assert scored(["ab", "acde"], "a", length_power=1.0)["c"] == pytest.approx(1 / 4)
    found = scored(["ab", "ab", "ac"], "a", target_damping=1.0)
    assert found["b"] == pytest.approx(found["c"])


def test_rare_items_say_more() -> None:
    found = scored(["ax", "by", "b", "b"], "ba", rarity_power=2.0, history_decay=0.99)
    assert found["x"] > 2 * found["y"] > 0


def test_a_history_that_nobody_shares_has_no_neighbours() -> None:
    assert set(scored(["ab"], "").values()) == {0.0}
    method = SequenceNeighbours(ndcg)
    method.fit(named(["ab"], "abz"))
    assert not method.scores(named(["z", "zz"], "abz")).any()


def test_a_batch_is_its_cases_one_by_one() -> None:
    train = circle()
    method = SequenceNeighbours(ndcg)
    method.fit(train)
    some = train.take(np.arange(5))
    each = [method.scores(train.take(np.array([case])))[0] for case in range(5)]
    np.testing.assert_allclose(method.scores(some), np.stack(each))


def test_what_comes_next_in_a_circle_is_found() -> None:
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=False)
    method = SequenceNeighbours(ndcg, start=PLAIN)
    method.fit(split.train)
    assert judge(method, split.validation).hit(1).mean() == 1.0
