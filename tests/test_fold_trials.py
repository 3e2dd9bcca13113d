"""Trials over folds: dropped when behind, remembered, and stopped by the budget."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from model.choice import Budget, Choice, OutOfTime, choose
from model.fold_trials import FoldTrials
from model.journal import Journal
from model.method import Setting

FOLDS = 3
DIFFICULTY = 0.5, 0.0, 0.2
"""By so much all settings are worth less on each fold."""
GRID = {"height": (0, 1, 2, 3, 4, 5), "width": (0, 1, 2, 3, 4, 5)}
START = {"height": 0, "width": 5}
JUDGING_SECONDS = 10.0


class Hill(FoldTrials):
    """Worth most at (4, 1); each judgement takes ten seconds of a clock of its own."""

    def __init__(
        self, seconds: float = 1e9, journal: Journal | None = None, patience: int = 1000
    ) -> None:
        self.now = 1234.5
        self.judged: list[tuple[Setting, Setting, int]] = []
        self._patience = patience
        super().__init__(FOLDS, seconds, journal, lambda: self.now)

    def judge(self, settings: Mapping[str, Setting], fold: int) -> float:
        if len(self.judged) == self._patience:
            raise KeyboardInterrupt
        for _ in range(10):
            self.now += JUDGING_SECONDS / 10
            self.stop_when_spent()
        height, width = settings["height"], settings["width"]
        self.judged.append((height, width, fold))
        return 10.0 - abs(height - 4) - abs(width - 1) - DIFFICULTY[fold]

    def climb(self) -> Choice:
        return choose(self.worth, START, GRID, Budget(self.seconds), clock=self.clock)


def test_the_top_is_found_and_no_fold_judged_twice() -> None:
    hill = Hill()
    choice = hill.climb()
    assert (choice.settings, choice.finished) == ({"height": 4, "width": 1}, True)
    assert len(hill.judged) == len(set(hill.judged))
    assert hill.leader is not None
    assert dict(hill.leader.settings) == choice.settings
    assert hill.leader.worths == [9.5, 10.0, 9.8]
    assert hill.leader.mean == choice.value == pytest.approx(29.3 / 3)
    assert hill.leader.spread == pytest.approx(0.2517, abs=1e-4)


def test_what_is_behind_on_the_first_fold_is_judged_on_no_other() -> None:
    hill = Hill()
    best = hill.worth({"height": 4, "width": 1})
    worse = hill.worth({"height": 3, "width": 1})
    assert [place for place in hill.judged if place[0] == 3] == [(3, 1, 0)]
    # A point less than the leader on that fold: a point less is expected of the mean.
    assert worse == pytest.approx(best - 1.0)
    dropped = hill.made[("height", 3), ("width", 1)]
    assert (dropped.worths, dropped.spread, dropped.seconds) == ([8.5], None, JUDGING_SECONDS)


def test_a_hard_fold_drops_nothing() -> None:
    # The first fold costs everybody half a point, which is more than a trial may be behind.
    hill = Hill()
    hill.worth({"height": 3, "width": 1})
    better = hill.worth({"height": 4, "width": 1})
    assert [place[2] for place in hill.judged] == [0, 1, 2, 0, 1, 2]
    assert better == pytest.approx(29.3 / 3)


def test_the_budget_stops_a_trial_in_the_middle() -> None:
    hill = Hill(seconds=75)
    choice = hill.climb()
    assert hill.spent == 76  # the first look at the clock past the budget
    # The start on three folds, one step up on three; the step after that was cut off.
    assert len(hill.judged) == 7
    assert (choice.settings, choice.finished) == ({"height": 1, "width": 5}, False)
    assert len(hill.made) == 2


def test_a_budget_that_does_not_do_for_the_start_is_told() -> None:
    with pytest.raises(OutOfTime):
        Hill(seconds=25).climb()


def test_a_search_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = Hill()
    chosen = whole.climb()
    path = tmp_path / "trials.jsonl"
    first = Hill(journal=Journal(path, "hill"), patience=11)
    with pytest.raises(KeyboardInterrupt):
        first.climb()
    rest = Hill(journal=Journal(path, "hill"))
    assert rest.climb() == chosen
    assert first.judged + rest.judged == whole.judged
    assert rest.made == whole.made
    assert rest.spent == whole.spent
    again = Hill(journal=Journal(path, "hill"))
    assert again.climb() == chosen
    assert again.judged == []


def test_remembered_seconds_count(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Hill(seconds=70, journal=Journal(path, "hill")).climb()
    # Seven folds, and the second that was lost on the one after them.
    assert len(Journal(path, "hill")) == 8
    again = Hill(seconds=70, journal=Journal(path, "hill"))
    again.climb()
    assert again.judged == []
    more = Hill(seconds=101, journal=Journal(path, "hill"))
    more.climb()
    assert len(more.judged) == 3


def test_seconds_of_a_fold_that_was_cut_off_count_too(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    first = Hill(seconds=75, journal=Journal(path, "hill"))
    chosen = first.climb()
    assert first.spent == 76
    again = Hill(seconds=75, journal=Journal(path, "hill"))
    begun = again.now
    assert again.climb() == chosen
    assert (again.now, again.spent) == (begun, 76)  # not tried again
    # Once more than the rest of a fold is left: two more, and the next is cut off as well.
    more = Hill(seconds=100, journal=Journal(path, "hill"))
    more.climb()
    assert (len(more.judged), more.spent) == (2, 101)
    # All that was spent on each of the two cut folds, and on the one that was judged at last.
    last = Hill(seconds=100, journal=Journal(path, "hill"))
    last.climb()
    assert (last.judged, last.spent) == ([], 101)


def test_a_fold_that_is_cut_off_twice_has_cost_both(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    for seconds, spent in ((4, 5), (9, 10), (14, 15)):
        hill = Hill(seconds=seconds, journal=Journal(path, "hill"))
        with pytest.raises(OutOfTime):
            hill.climb()
        assert hill.spent == spent
    assert len(Journal(path, "hill")) == 1
