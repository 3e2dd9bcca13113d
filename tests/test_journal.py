"""A search that was broken off goes on from its journal, as if nothing had happened."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from model.choice import Budget, choose
from model.journal import Journal, Trial
from model.method import Setting

START = {"height": 0.0, "width": 5.0}
GRID = {"height": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), "width": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)}


class Hill:
    """Worth most at (4, 1); it counts how often it is asked, and may break off."""

    def __init__(self, patience: int = 1000) -> None:
        self.asked = 0
        self._patience = patience

    def __call__(self, settings: Mapping[str, Setting]) -> float:
        if self.asked == self._patience:
            raise KeyboardInterrupt
        self.asked += 1
        return 10.0 - abs(settings["height"] - 4) - abs(settings["width"] - 1)


def test_what_was_tried_is_not_tried_again(tmp_path: Path) -> None:
    whole = choose(Hill(), START, GRID, Budget())
    path = tmp_path / "trials.jsonl"
    with pytest.raises(KeyboardInterrupt):
        choose(Hill(patience=5), START, GRID, Budget(), Journal(path, "hill"))
    assert len(path.read_text().splitlines()) == 5
    rest = Hill()
    resumed = choose(rest, START, GRID, Budget(), Journal(path, "hill"))
    assert rest.asked == whole.trials - 5
    assert (resumed.settings, resumed.value, resumed.tried) == (
        whole.settings,
        whole.value,
        whole.tried,
    )
    again = Hill()
    assert choose(again, START, GRID, Budget(), Journal(path, "hill")).settings == whole.settings
    assert again.asked == 0


def test_seconds_of_earlier_trials_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "trials.jsonl", "hill")
    journal.note(START, Trial(worth=1.0, seconds=3600.0))
    hill = Hill()
    choice = choose(hill, START, GRID, Budget(seconds=60), journal)
    assert (choice.settings, choice.value, choice.finished, hill.asked) == (START, 1.0, False, 0)


def test_searches_share_a_file_and_not_their_trials(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Journal(path, "one").note({"a": 1.0, "b": 2.0}, Trial(0.5, 1.0))
    Journal(path, "two").note({"a": 1.0, "b": 2.0}, Trial(0.7, 1.0))
    assert Journal(path, "one").known({"b": 2.0, "a": 1.0}) == Trial(0.5, 1.0)
    assert Journal(path, "two").known({"a": 1.0, "b": 2.0}) == Trial(0.7, 1.0)
    assert len(Journal(path, "three")) == 0


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Journal(path, "one").note({"a": 1.0}, Trial(0.5, 1.0))
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    journal = Journal(path, "one")
    assert len(journal) == 1
    journal.note({"a": 2.0}, Trial(0.6, 1.0))
    assert len(Journal(path, "one")) == 2
    assert path.read_text().startswith(whole)


@pytest.mark.parametrize("line", ["not json", "[]", '{"search": "one", "settings": {"a": 1}}'])
def test_another_file_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1: not a trial"):
        Journal(path, "one")
