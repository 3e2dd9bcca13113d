"""Settings chosen by climbing: the top of a hill, within the budget."""

from collections.abc import Mapping

from model.choice import Budget, choose
from model.method import Setting

GRID = {"height": (0, 1, 2, 3, 4, 5), "width": (0, 1, 2, 3, 4, 5)}


class Hill:
    """Worth most at (4, 1)."""

    def __init__(self) -> None:
        self.asked: list[tuple[Setting, Setting]] = []

    def __call__(self, settings: Mapping[str, Setting]) -> float:
        height, width = settings["height"], settings["width"]
        self.asked.append((height, width))
        assert isinstance(height, int)
        assert isinstance(width, int)
        return 10.0 - abs(height - 4) - abs(width - 1) - 0.5 * abs(height - width - 3)


def test_it_climbs_to_the_top_and_asks_nothing_twice() -> None:
    hill = Hill()
    choice = choose(hill, {"height": 0, "width": 5}, GRID, Budget(trials=100))
    assert choice.settings == {"height": 4, "width": 1}
    assert (choice.value, choice.finished) == (10.0, True)
    assert choice.trials == len(hill.asked) == len(set(hill.asked)) < 36


def test_it_keeps_settings_that_are_not_to_be_chosen() -> None:
    choice = choose(Hill(), {"height": 0, "width": 2}, {"height": GRID["height"]}, Budget())
    assert choice.settings == {"height": 4, "width": 2}


def test_the_budget_ends_it_with_the_best_so_far() -> None:
    hill = Hill()
    choice = choose(hill, {"height": 0, "width": 5}, GRID, Budget(trials=3))
    assert (choice.trials, choice.finished) == (3, False)
    assert choice.settings == {"height": 2, "width": 5}
    assert choose(hill, {"height": 0, "width": 5}, GRID, Budget(seconds=-1)).trials == 1


def test_it_may_begin_between_the_values() -> None:
    choice = choose(Hill(), {"height": 4, "width": 3}, {"width": (0, 2, 5)}, Budget())
    assert choice.settings == {"height": 4, "width": 2}


def test_a_gain_that_may_be_noise_moves_nothing() -> None:
    start = {"height": 3, "width": 1}
    assert choose(Hill(), start, GRID, Budget(least_gain=0.5)).settings == start


def test_patience_walks_through_a_dent() -> None:
    def dented(settings: Mapping[str, Setting]) -> float:
        return (3.0, 1.0, 2.0, 9.0)[int(settings["place"])]

    grid = {"place": (0, 1, 2, 3)}
    assert choose(dented, {"place": 0}, grid, Budget()).settings == {"place": 0}
    assert choose(dented, {"place": 0}, grid, Budget(patience=2)).settings == {"place": 0}
    assert choose(dented, {"place": 0}, grid, Budget(patience=3)).settings == {"place": 3}


def test_the_table_of_trials_begins_with_the_best() -> None:
    table = choose(Hill(), {"height": 4, "width": 2}, {"width": (1, 2, 3)}, Budget()).table()
    assert table[0] == {"worth": 10.0}
    assert table[1:] == [{"worth": 8.5, "width": 2}, {"worth": 7.0, "width": 3}]
