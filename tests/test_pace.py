"""When replayed events may leave. The clock is of the test's own, and sleeping moves it."""

from collections.abc import Sequence

import pytest

from model.events import Click
from serving.intake import Decoded
from stream.replay import pace as pace_room
from stream.replay.pace import Pace
from stream.replay.past import PastRecord


class Clock:
    """Stands where the module ``time`` stands."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(pace_room, "time", stopped)
    return stopped


def events(seconds: Sequence[float]) -> list[Decoded]:
    return [
        Decoded(
            PastRecord("log", 0, number),
            Click(event_id=str(number), user_id="u", ts=int(1000 * second), item_id="i"),
        )
        for number, second in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    ("rate", "most", "size"),
    [(None, 5_000, 500), (None, 30, 30), (1_000.0, 5_000, 50), (0.5, 500, 1)],
)
def test_events_leave_in_small_portions(rate: float | None, most: int, size: int) -> None:
    assert Pace(rate=rate, most=most).portion == size


def test_without_a_pace_nobody_waits(clock: Clock) -> None:
    log = events(range(1_200))
    assert [len(each) for each in Pace().portions(log)] == [500, 500, 200]
    assert clock.now == 100


def test_a_rate_spreads_events_evenly(clock: Clock) -> None:
    pace = Pace(rate=40)
    left = [
        (clock.now, len(each))
        for batch in (events(range(3)), events(range(5)))
        for each in pace.portions(batch)
    ]
    assert left == [(100, 2), (100.05, 1), (100.075, 2), (100.125, 2), (100.175, 1)]


@pytest.mark.parametrize("pace", [Pace(rate=20), Pace(speed=1)])
def test_time_that_was_lost_is_not_made_up_for(clock: Clock, pace: Pace) -> None:
    list(pace.portions(events([0])))
    clock.now += 60  # the workers' lag held the replay back
    left = []
    for portion in pace.portions(events([0.05, 0.1, 1.1, 2.1])):
        left.append(round(clock.now, 3))
        assert len(portion) <= 2
    assert left[0] == 160
    assert left[-1] > 160.1


def test_a_speed_follows_the_time_of_events(clock: Clock) -> None:
    log = events([0, 0.1, 60, 60, 30, 120])
    left = [
        (clock.now, [each.event.event_id for each in portion])
        for portion in Pace(speed=10).portions(log)
    ]
    assert left == [(100, ["0", "1"]), (106, ["2", "3", "4"]), (112, ["5"])]
