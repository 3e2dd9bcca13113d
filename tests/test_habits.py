"""Popularity in a window and personal frequency that fades, by hand."""

import numpy as np
import pytest

from model.choice import Budget
from model.habits import Habits, HabitSettings
from model.popularity import Popularity, newest_counts
from model.ranks import Ranks, judge
from model.sequences import Cases, Sequences
from model.splits import next_basket
from tests.sequence_shop import named, timed


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def test_the_newest_by_time_or_by_the_order_of_sequences() -> None:
    found = timed([[("a", 0), ("b", 3)], [("c", 1), ("c", 2)]])
    assert newest_counts(found, 0.5).tolist() == [0, 1, 1]
    assert newest_counts(found, 1.0).tolist() == [1, 1, 2]
    assert newest_counts(named(["ab", "cc"]), 0.5).tolist() == [0, 0, 2]
    assert newest_counts(found, 0.0).tolist() == [0, 0, 0]


def test_events_of_one_moment_are_counted_together() -> None:
    assert newest_counts(timed([[("a", 0), ("b", 1), ("c", 1)]]), 1 / 3).tolist() == [0, 1, 1]


def test_the_window_is_chosen_on_validation() -> None:
    # For long everyone took a, lately b; the next is b.
    train = named(["aaa"] * 30 + ["b"] * 5)
    answers = np.full(4, 1, np.int32)
    validation = Cases.single(named(["a"] * 4, "ab"), answers, seen_excluded=False)
    method = Popularity(ndcg)
    method.fit(train, validation)
    assert method.settings() == {"window": 0.01}
    assert method.worth[1.0] < method.worth[0.01] == 1.0
    assert judge(method, validation).hit(1).mean() == 1.0
    method.fit(train)
    assert method.worth.keys() == {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0}


def scored(settings: HabitSettings, history: Sequences, train: Sequences) -> dict[str, float]:
    method = Habits(ndcg, start=settings)
    method.fit(train)
    [scores] = method.scores(history)
    return dict(zip(train.item_ids, scores.tolist(), strict=True))


def test_a_habit_fades_and_a_day_counts_once() -> None:
    log = timed([[("a", 0), ("a", 0.5), ("b", 4), ("a", 8), ("c", 8)]])
    found = scored(HabitSettings(half_life_days=4, window=1, back_off=0), log, log)
    assert found == pytest.approx({"a": 0.25 + 1, "b": 0.5, "c": 1.0})


def test_what_is_popular_breaks_ties_and_fills_up() -> None:
    train = timed([[("a", 0), ("b", 0)], [("b", 0), ("c", 0)], [("b", 0), ("c", 0)]])
    history = train.take(np.array([0]))
    found = scored(HabitSettings(half_life_days=4, window=1, back_off=0.3), history, train)
    assert found == pytest.approx({"a": 1.1, "b": 1.3, "c": 0.2})


def test_habits_need_times() -> None:
    with pytest.raises(ValueError, match="no times"):
        Habits(ndcg).fit(named(["ab"]))


def test_the_half_life_is_chosen_on_validation() -> None:
    # Everyone bought an old item often, and another one once, newly; the new one comes next.
    users: list[list[tuple[str, float]]] = [
        [*[("ab"[user % 2], day) for day in range(9)], ("c", 18), ("c", 22), ("c", 30)]
        for user in range(8)
    ]
    split = next_basket(timed(users), days=5, unseen_only=False)
    method = Habits(
        ndcg,
        start=HabitSettings(half_life_days=512, window=1, back_off=0),
        grid={"half_life_days": (2.0, 512.0)},
        budget=Budget(trials=9),
    )
    method.fit(split.train, split.validation)
    assert method.settings()["half_life_days"] == 2.0
    method.refit(split.final)
    assert judge(method, split.test).hit(1).mean() == 1.0
