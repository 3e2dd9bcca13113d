"""What counts as a stall, and what begins the time anew."""

from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from stream.stalls import Sight, Stalls, Standing

PLACE = TopicPartition("events", 3)
OTHER = TopicPartition("events", 4)
BEHIND = Sight({PLACE: Standing(position=10)}, {PLACE: 12})
IN_WORK = Sight({PLACE: Standing(12, undone_from=10, taken_from=10)}, {PLACE: 12})
UNTAKEN = Sight({PLACE: Standing(12, undone_from=10)}, {PLACE: 12})
UNCOMMITTED = Sight({PLACE: Standing(12, is_uncommitted=True)}, {PLACE: 12})
REBALANCE = Sight(ends={PLACE: 12}, is_rebalancing=True)

STALLS = {
    "fetch": (BEHIND, "events[3]: records wait from offset 10 on, and none has been fetched"),
    "work": (IN_WORK, "events[3]: the records from offset 10 on have been in work"),
    "agent": (UNTAKEN, "records wait, and none has been taken into work"),
    "commit": (UNCOMMITTED, "events[3]: what is done has not been committed"),
    "rebalance": (REBALANCE, "a rebalance has not ended"),
    "thread": (Sight(is_thread_silent=True), "the consumer's thread has not answered"),
    "run": (Sight(is_run_overdue=True), "a run of the model has not ended"),
}


@pytest.mark.parametrize("name", STALLS)
def test_what_does_not_move_for_long_is_a_stall_and_none_before(name: str) -> None:
    sight, told = STALLS[name]
    stalls = Stalls(150)
    assert stalls.judge(sight, 1_000) == ()
    assert stalls.judge(sight, 1_149) == ()
    assert stalls.judge(sight, 1_150) == (f"{told} for 150 s",)
    assert stalls.judge(Sight(), 1_160) == ()
    assert stalls.judge(sight, 1_170) == (), "and it begins anew"


@pytest.mark.parametrize(
    ("sight", "moved"),
    [
        (BEHIND, replace(BEHIND, standings={PLACE: Standing(11)})),
        (BEHIND, replace(BEHIND, assignment=1)),
        (IN_WORK, replace(IN_WORK, endings=1)),  # a poisonous record is being sought
        (IN_WORK, replace(IN_WORK, standings={PLACE: Standing(12, 11, 11)})),
        (UNTAKEN, replace(UNTAKEN, standings={PLACE: Standing(12, 11)})),
        (UNCOMMITTED, replace(UNCOMMITTED, commits=1)),  # or failed: that is not ours to mend
    ],
)
def test_what_moves_begins_the_time_anew(sight: Sight, moved: Sight) -> None:
    stalls = Stalls(150)
    stalls.judge(sight, 0)
    assert stalls.judge(moved, 149) == ()
    assert stalls.judge(moved, 298) == ()
    assert len(stalls.judge(moved, 299)) == 1


@pytest.mark.parametrize(
    "why",
    [
        {"is_waiting": True},  # for Redis, Kafka or the model: a new start would wait as well
        {"ends": {}},  # no broker answers
        {"is_full": True},  # the agent has enough to do
    ],
)
def test_what_a_new_start_does_not_mend_is_no_stall(why: dict[str, object]) -> None:
    stalls, sight = Stalls(150), replace(BEHIND, **why)  # type: ignore[arg-type]
    assert not any(stalls.judge(sight, now) for now in range(0, 1_000, 10))


def test_a_rebalance_while_no_broker_answers_is_no_stall() -> None:
    stalls, sight = Stalls(150), replace(REBALANCE, ends={})
    assert not any(stalls.judge(sight, now) for now in range(0, 1_000, 10))


def test_an_idle_worker_is_no_stall() -> None:
    stalls = Stalls(150)
    sight = Sight({PLACE: Standing(12), OTHER: Standing(None)}, {PLACE: 12, OTHER: 4})
    assert not any(stalls.judge(sight, now) for now in range(0, 1_000, 10))


def test_work_in_one_partition_excuses_untaken_records_of_another() -> None:
    stalls = Stalls(150)

    def sight(done: int) -> Sight:
        standings = {PLACE: Standing(12, 10), OTHER: Standing(99, done, done)}
        return Sight(standings, {PLACE: 12, OTHER: 99})

    assert not any(stalls.judge(sight(now), now) for now in range(0, 1_000, 10))


def test_records_that_were_forgotten_are_told_though_others_are_done() -> None:
    stalls = Stalls(150)

    def sight(done: int) -> Sight:
        standings = {PLACE: Standing(12, 10, 10), OTHER: Standing(1_000, done, done)}
        return Sight(standings, {PLACE: 12, OTHER: 1_000})

    for now in range(0, 150, 10):
        assert stalls.judge(sight(now), now) == ()
    (told,) = stalls.judge(sight(150), 150)
    assert told.startswith("events[3]: the records from offset 10 on")


def test_a_partition_is_named_though_another_goes_on() -> None:
    stalls = Stalls(150)

    def sight(position: int) -> Sight:
        standings = {PLACE: Standing(10), OTHER: Standing(position)}
        return Sight(standings, {PLACE: 12, OTHER: 1_000})

    for now in range(0, 150, 10):
        assert stalls.judge(sight(now), now) == ()
    (told,) = stalls.judge(sight(150), 150)
    assert told.startswith("events[3]: ")
