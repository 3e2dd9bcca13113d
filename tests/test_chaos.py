"""The crash suite itself: a short run of it, and its parts by hand."""

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model.events import Click, ContractError, Forget, Purchase, Search, User, decode_event
from model.traits import pack_traits
from serving.profile import pack_interaction, pack_purchase, pack_query, profile_of
from tests.chaos.checks import check_coverage, check_searches
from tests.chaos.deliveries import distinct, redelivered
from tests.chaos.differences import Differences
from tests.chaos.ledger import History, ListHead, Lists, _AsOf
from tests.chaos.message import Message
from tests.chaos.oracle import (
    expected_choices,
    expected_covisits,
    expected_popularity,
    expected_profile,
    plain_query,
)
from tests.chaos.report import Report
from tests.chaos.run import run
from tests.chaos.sabotage import SABOTAGES, BrokenFunctions
from tests.chaos.schedule import Kind, one_by_one, schedule
from tests.chaos.selftest import verdict
from tests.chaos.stage import Plan
from tests.chaos.traffic import Traffic
from tests.chaos.worker import ENTRY
from tests.parts import DAY_MS, MINUTE_MS, NOW

EVENTS = 6_000
PARTITIONS = 6


# -- a run


def test_a_short_run_loses_doubles_and_changes_nothing(tmp_path: Path) -> None:
    kinds = (Kind.KILL_WORKER, Kind.KILL_REDIS, Kind.PAUSE, Kind.CUT_REDIS)
    plan = Plan(4_000, len(kinds), seed=1, kafka=None, kinds=kinds, workers=2)
    report = run(plan, tmp_path, Console(quiet=True))
    assert report.verdicts == []
    assert sum(report.faults.values()) == len(kinds)
    assert {each.check for each in report.differences if not each.compared} == set()
    assert report.recovery_s["max"] is not None


# -- the schedule


def test_200_faults_have_the_kinds_that_were_promised() -> None:
    kinds = Counter(fault.kind for fault in schedule(200, 1_000_000, 3, embedded=False))
    assert kinds.total() == 200
    assert kinds[Kind.KILL_WORKER] >= 60
    assert kinds[Kind.KILL_REDIS] >= 20
    assert kinds[Kind.KILL_BROKER] >= 10
    assert kinds[Kind.BROKER_OUTAGE] == 0
    assert kinds.keys() == set(Kind) - {Kind.BROKER_OUTAGE}


def test_a_schedule_depends_on_its_seed_alone() -> None:
    assert schedule(50, 10_000, 1, embedded=False) == schedule(50, 10_000, 1, embedded=False)
    assert schedule(50, 10_000, 1, embedded=False) != schedule(50, 10_000, 2, embedded=False)


def test_the_embedded_broker_is_never_killed() -> None:
    kinds = {fault.kind for fault in schedule(200, 10_000, 1, embedded=True)}
    assert kinds.isdisjoint({Kind.KILL_BROKER, Kind.CUT_BROKER, Kind.STALL_BROKER})
    assert Kind.BROKER_OUTAGE in kinds


def test_faults_come_in_bursts_over_the_whole_run_and_leaves_alternate_with_joins() -> None:
    faults = schedule(200, 10_000, 1, embedded=False)
    begins = [fault.at for fault in faults]
    assert begins == sorted(begins)
    assert 0 < begins[0] < 1_000 and 9_000 < begins[-1] < 10_000
    assert 20 < len(set(begins)) < 100
    for _, burst in itertools.groupby(faults, lambda fault: fault.at):
        delays = [fault.delay_s for fault in burst]
        assert delays == sorted(delays)
    turns = [fault.kind for fault in faults if fault.kind in (Kind.LEAVE, Kind.JOIN)]
    assert turns == [Kind.LEAVE, Kind.JOIN] * (len(turns) // 2) + [Kind.LEAVE] * (len(turns) % 2)


def test_single_faults_keep_their_order() -> None:
    faults = one_by_one([Kind.PAUSE, Kind.KILL_REDIS], 1_000, 1)
    assert [fault.kind for fault in faults] == [Kind.PAUSE, Kind.KILL_REDIS]
    assert faults[0].at < faults[1].at


# -- the traffic


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return list(Traffic(EVENTS, 5, PARTITIONS))


def test_the_traffic_depends_on_its_seed_alone(messages: list[Message]) -> None:
    assert messages == list(Traffic(EVENTS, 5, PARTITIONS))
    assert messages != list(Traffic(EVENTS, 6, PARTITIONS))
    assert len(messages) == EVENTS


def test_what_is_marked_as_garbage_breaks_the_contract_and_nothing_else_does(
    messages: list[Message],
) -> None:
    reasons = set()
    for message in messages:
        if message.is_garbage:
            with pytest.raises(ContractError) as caught:
                decode_event(message.value, NOW)
            reasons.add(caught.value.reason)
        else:
            decode_event(message.value, NOW)
    assert len(reasons) > 4
    assert 0.005 < sum(message.is_garbage for message in messages) / EVENTS < 0.02


def test_a_tenth_are_copies_and_a_user_has_one_partition(messages: list[Message]) -> None:
    events = [message for message in messages if not message.is_garbage]
    copies = len(events) - len({message.value for message in events})
    assert 0.07 < copies / EVENTS < 0.13
    partitions = defaultdict(set)
    for message in events:
        partitions[message.key].add(message.partition)
    assert {len(each) for each in partitions.values()} == {1}


def test_late_and_forgotten_events_leave_no_doubt_about_what_is_due(
    messages: list[Message],
) -> None:
    times: defaultdict[str, list[int]] = defaultdict(list)
    forgets: defaultdict[str, set[int]] = defaultdict(set)
    late = 0
    for value in dict.fromkeys(each.value for each in messages if not each.is_garbage):
        event = decode_event(value, NOW)
        earlier = times[event.user_id]
        if isinstance(event, Forget):
            assert event.time > max(earlier)
            forgets[event.user_id].add(event.time)
        assert event.time >= max(forgets[event.user_id], default=0)
        late += bool(earlier) and event.time < max(earlier)
        assert event.time > max(earlier, default=0) - 3 * MINUTE_MS
        earlier.append(event.time)
        assert sum(event.time - each <= 30 * MINUTE_MS for each in earlier) <= 100
    assert late > EVENTS / 100
    assert any(forgets.values())


# -- the oracle


def click(event_id: str, item: str, minute: float, user: str = "ada") -> Click:
    return Click(event_id=event_id, user_id=user, ts=NOW + int(minute * MINUTE_MS), item_id=item)


def history(*events: Click | Purchase | Search) -> History:
    found = History()
    for event in events:
        if isinstance(event, Search):
            found.queries[pack_query(event)] = event.query
        else:
            found.interactions[pack_interaction(event)] = event.item_id
    return found


def test_an_expected_profile_has_the_visitors_events_and_not_the_forgotten_ones() -> None:
    known = history(click("a", "tea", 0), click("b", "milk", 5))
    known.visitors, known.forgets = {"visitor"}, {NOW + MINUTE_MS}
    visitor = history(click("c", "jam", 0, "visitor"), click("d", "rice", 7, "visitor"))
    profile = expected_profile("ada", {"ada": known, "visitor": visitor})
    of_visitor = profile_of([pack_interaction(click("d", "rice", 7, "visitor"))], []).linked()
    own = pack_interaction(click("b", "milk", 5))
    assert profile.interactions == of_visitor.interactions + own
    assert len(expected_profile("visitor", {"visitor": visitor}).interactions) == 2 * len(own)


def test_an_expected_profile_has_the_newest_traits_and_not_the_forgotten_ones() -> None:
    def told(value: int, minute: int, user: str) -> set[bytes]:
        ts = NOW + minute * MINUTE_MS
        return {pack_traits(User(event_id="e", user_id=user, ts=ts, attributes={"a": value}))}

    known, visitor = history(), history()
    known.traits, known.forgets = told(1, 0, "ada") | told(2, 5, "ada"), {NOW + MINUTE_MS}
    visitor.traits, known.visitors = told(3, 0, "visitor") | told(4, 7, "visitor"), {"visitor"}
    assert {expected_profile("ada", {"ada": known}).traits} == told(2, 5, "ada")
    both = expected_profile("ada", {"ada": known, "visitor": visitor})
    assert {both.traits} == told(4, 7, "visitor")


def test_a_purchase_of_the_day_of_a_forget_lasts_as_long_as_its_proof() -> None:
    def purchase(number: int, ts: int) -> Purchase:
        return Purchase(event_id=f"p{number}", user_id="ada", ts=ts, item_id=f"item-{number}")

    begin = NOW // DAY_MS * DAY_MS + MINUTE_MS
    bought = [purchase(number, begin + number * 1000) for number in range(110)]
    bought.append(purchase(110, begin + DAY_MS))
    known = history(*bought)
    known.forgets = {begin - 1}
    packed = [pack_interaction(each) for each in bought]
    due = sorted(map(pack_purchase, packed[-100:]), reverse=True)
    assert expected_profile("ada", {"ada": known}).purchases == b"".join(due)


def weigh(
    times: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """An event weighs the minutes since NOW, and one more."""
    return (times - NOW) / MINUTE_MS + 1.0


def test_expected_counts_by_hand() -> None:
    events = (
        click("a", "tea", 0), click("b", "milk", 10), click("c", "tea", 35), click("d", "tea", 36),
    )  # fmt: skip
    found = [history(*events)]
    assert expected_popularity(found, weigh) == {"tea": 1 + 36 + 37, "milk": 11}
    together = expected_covisits(found, weigh)
    # 10 with 0, 35 and 36; what is 35 minutes apart is not together.
    assert together == {"tea": {"milk": 11 + 36 + 37}, "milk": {"tea": 11 + 36 + 37}}


def test_a_forget_parts_what_came_before_and_after() -> None:
    found = history(click("a", "tea", 0), click("b", "milk", 10))
    found.forgets = {NOW + 5 * MINUTE_MS}
    assert expected_covisits([found], weigh) == {}
    assert expected_popularity([found], weigh) == {"tea": 1, "milk": 11}


def test_expected_choices_by_hand() -> None:
    searches = [
        Search(event_id="s", user_id="ada", ts=NOW + minute * MINUTE_MS, query=query)
        for minute, query in ((5, " ＴＥＡ "), (8, "tea"))
    ]
    found = history(click("a", "cup", 0), click("b", "pot", 20), click("c", "cup", 37), *searches)
    assert expected_choices([found], weigh) == {"tea": {"pot": 2 * 21, "cup": 38}}


def test_a_query_counts_as_the_profile_keeps_it() -> None:
    assert plain_query("  Grüner   TEE ") == "grüner tee"
    assert plain_query("茶" * 40) == "茶" * 16


# -- the checks


def list_of(user: str, offset: int, query: str | None = None) -> Lists:
    lists = Lists()
    lists.newest[0] = ListHead("rec", user, NOW, _AsOf("events", 0, offset), query)
    if query is not None:
        lists.searched.add((0, offset))
    return lists


def test_an_event_is_covered_by_a_list_that_has_seen_it() -> None:
    known = History(listed=[(0, 4, NOW), (0, 7, NOW), (0, 2, NOW - MINUTE_MS)])
    known.forgets = {NOW - 1}
    assert check_coverage({"ada": known}, {"ada": list_of("ada", 7)}).count == 0
    found = check_coverage({"ada": known}, {"ada": list_of("ada", 6)})
    assert (found.compared, found.count) == (2, 1)
    assert check_coverage({"ada": known}, {}).count == 2


def test_a_search_wants_a_list_of_its_own() -> None:
    known = History(searches=[(0, 4, NOW), (0, 7, NOW)])
    found = check_searches({"ada": known}, {"ada": list_of("ada", 7, "tea")})
    assert (found.compared, found.count) == (2, 1)


def test_deliveries_are_told_from_redeliveries() -> None:
    entries = [(0, 1, 0, 0, 9), (0, 2, 0, 5, 14), (0, 1, 1, 0, 0)]
    journal = np.array(entries, ENTRY)
    assert distinct(journal) == 16
    assert redelivered(journal) == 5
    assert distinct(journal[:0]) == redelivered(journal[:0]) == 0


# -- the verdict


def report(redeliveries: int = 100, differences: int = 0) -> Report:
    return Report(
        backend="embedded", seed=1, partitions=1, workers_started=2, events=10, copies=1,
        garbage=1, lists=5, users=2, faults={"SIGKILL of a worker": 4}, redeliveries=redeliveries,
        differences=[Differences("profiles", 10, differences)], deaths=[], failures=[],
        recovery_s={"p50": 1.0, "max": 2.0}, seconds=1.0, events_per_s=10.0,
    )  # fmt: skip


def test_a_run_is_red_for_a_difference_and_for_being_tame() -> None:
    assert report().is_green
    assert report(differences=1).verdicts == ["1 differences in profiles"]
    assert report(redeliveries=19).verdicts == ["too tame: 19 redeliveries, 20 are the least"]
    assert report(differences=1).as_json()["green"] is False


def test_a_selftest_wants_the_right_check_to_be_red() -> None:
    assert verdict("", report()) == ""
    assert "red without a reason" in verdict("", report(differences=1))
    assert verdict("no-deduplication", report(differences=1)) == ""
    assert "popularity" in verdict("no-count-guard", report(differences=1))


def test_every_sabotage_finds_its_place_in_the_functions() -> None:
    broken = [each.commit for each in SABOTAGES.values()]
    texts = {each.text() for each in broken if isinstance(each, BrokenFunctions)}
    assert len(texts) == 3
