"""Training-serving skew is zero: one log, read from files and lived through, gives one answer.

The log comes in late, in copies and in pieces, and one of its items is unknown to the network.
What training and evaluation make of its files is compared with what a worker makes of its
records, both through the code that ships.

What differs by design is kept out: a worker counts an event only if its user's window of 100 still
has room for it when it comes in (a file has no order of arrival); it prunes neighbours beyond 128
of an item; and it counts up to this moment, where a log is judged by the counts of the midnight
before, so that everybody is looked at here a millisecond before midnight.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend
from model.bundle import Bundle, load_bundle
from model.dataset import (
    PROFILE_INTERACTIONS,
    PROFILE_PURCHASES,
    PROFILE_SEARCHES,
    EventLog,
    next_baskets,
)
from model.evaluate import Judge
from model.events import (
    MAX_TIME_MS,
    Cart,
    Click,
    Event,
    Forget,
    Identify,
    Purchase,
    Search,
    encode_event,
)
from model.features import (
    DAY_MS,
    UNKNOWN,
    Histories,
    PurchaseTable,
    Searches,
    featurize,
    query_windows,
)
from model.ids import item_hashes
from model.item_vectors import diversity_of
from model.items import Item
from model.ranked_lists import SHOWN, varied
from model.signals import NEIGHBOURS, POPULAR, Origin, own_repeat, seeds_of
from serving import counts
from serving.candidates import Candidates
from serving.execution import Execution
from serving.intake import decode
from serving.parts import Parts
from serving.policy import Policy
from serving.ranker import Ranker
from serving.recommend import Prepared, decide
from serving.requests import list_requests
from stream.event_log import read_event_log
from tests.parts import NOW, click, open_parts, records_of, take
from tests.tiny import tiny_bundle

LENGTH = 20
DAYS = 18
MIDNIGHT = NOW // DAY_MS * DAY_MS
"""The log ends a millisecond before."""
USERS = ("ann", "bob", "cid", "dot", "eve", "hoarder")
KNOWN = [f"item-{number:03}" for number in range(POPULAR + 30)]
RARE = "rare"
"""Not in the vocabulary."""
WEIGHTS = BlendWeights(
    network=0.7, repeat=1.3, repeat_scale=0.4, covisit=0.6, popular=0.2, unknown=-0.5
)
Deed = Click | Cart | Purchase | Search


def deed(chance: np.random.Generator, user: str, time: int, number: int) -> Deed:
    """Something that a user does; identities are as a shop makes them."""
    item = str(chance.choice([*KNOWN, RARE]))
    name = f"{user}-{number}"
    match int(chance.integers(0, 6)):
        case 0:
            return Search(event_id=name, user_id=user, ts=time, query=f"where is {item}")
        case 1:
            return Cart(event_id=name, user_id=user, ts=time, item_id=item, quantity=2, price=3.5)
        case 2 | 3:
            return Purchase(event_id=name, user_id=user, ts=time, item_id=item, quantity=1)
        case _:
            return Click(event_id=name, user_id=user, ts=time, item_id=item, dwell_ms=1700)


def deeds_of(user: str, count: int, seed: int) -> list[Deed]:
    """In the order of their times: sessions, some of whose events share a millisecond."""
    chance = np.random.default_rng(seed)
    pauses = chance.choice([0, 0, 20_000, 600_000, DAY_MS * DAYS // count], count - 1)
    times = MIDNIGHT - 2 - np.append(np.cumsum(pauses[::-1])[::-1], 0)
    made = [deed(chance, user, int(time), number) for number, time in enumerate(times)]
    # The cause of the list that is compared: no search, and nothing is as new.
    kind = (Click, Cart, Purchase)[seed % 3]
    last = kind(event_id=f"{user}-last", user_id=user, ts=MIDNIGHT - 1, item_id=KNOWN[seed])
    conflict = Click(event_id=f"{user}-0", user_id=user, ts=int(times[0]), item_id=KNOWN[-1])
    return [conflict, *made[:-1], last]


def arrivals(seed: int) -> list[Deed]:
    """Everyone's events as they come in: some late, some twice, some hours after they happened."""
    chance = np.random.default_rng(seed)
    log = [
        each
        for number, user in enumerate(USERS)
        for each in deeds_of(user, 1300 if user == "hoarder" else 60, seed + number)
    ]
    delay = chance.choice([0, 0, 0, 1000, 3_600_000], len(log)) * chance.random(len(log))
    copies = chance.choice(len(log), 80, replace=False)
    late = [(each.time + wait, each) for each, wait in zip(log, delay, strict=True)]
    late += [(log[at].time + 7_200_000 * chance.random(), log[at]) for at in copies]
    return [each for _, each in sorted(late, key=lambda pair: pair[0])]


def read_back(events: Sequence[Event], folder: Path) -> EventLog:
    """The log as ``nextclick train`` reads it, over two files that are not in order."""
    half = len(events) // 2
    paths = [folder / "one.jsonl", folder / "two.jsonl"]
    for path, part in zip(paths, (events[half:][::-1], events[:half]), strict=True):
        path.write_bytes(b"".join(encode_event(event) + b"\n" for event in part))
    bad: list[object] = []
    log = read_event_log(paths, bad.append)
    assert not bad
    return log


async def live(parts: Parts, events: Sequence[Event], first: int, seed: int) -> None:
    """A worker learns these events in micro-batches of any size, from this offset on."""
    chance, start = np.random.default_rng(seed), 0
    while start < len(events):
        end = start + int(chance.integers(1, 90))
        await take(parts, records_of(events[start:end], first=first + start))
        start = end


def made_bundle(path: Path, *, queries: bool = False) -> Bundle:
    """Of an untrained network."""
    tiny_bundle(path, KNOWN, length=LENGTH, top_k=25, seed=3, blend=WEIGHTS, queries=queries)
    return load_bundle(path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made_bundle(tmp_path_factory.mktemp("skew") / "bundle")


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    items = [Item(item_id=item, title=item) for item in [RARE, *KNOWN[::-1]]]
    async with open_parts(
        redis_url, items, bundle=bundle, list_length=1000, publish_replayed=True
    ) as opened:
        yield opened


def same(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> bool:
    """Whether all arrays are equal: values, shapes and types."""
    return all(
        one.dtype == other.dtype and np.array_equal(one, other)
        for one, other in zip(ours, theirs, strict=True)
    )


async def test_training_reads_what_a_profile_holds(
    parts: Parts, bundle: Bundle, tmp_path: Path
) -> None:
    events: list[Event] = [*arrivals(1)]
    # Days late: below the window of interactions, and still a purchase to remember.
    very_late = [
        kind(event_id="late", user_id="hoarder", ts=NOW - 9 * DAY_MS, item_id=KNOWN[7])
        for kind in (Click, Purchase)
    ]
    events += very_late
    # One user starts anew, with what he did under another name; counts keep what was counted.
    early, late = MIDNIGHT - 2 * DAY_MS, MIDNIGHT - DAY_MS
    events[900:900] = [
        click("anonymous", KNOWN[3], early),
        Identify(event_id="link", user_id="dot", ts=early, anonymous_id="anonymous"),
        Forget(event_id="forget", user_id="dot", ts=late),
    ]
    learned = 0
    for moment in (1, 40, 333, 1000, len(events)):
        await live(parts, events[learned:moment], learned, seed=moment)
        learned = moment
        log = read_back(events[:moment], tmp_path)
        for number, user in enumerate(log.user_ids):
            rows = int(log.first_rows[number]), int(log.first_rows[number + 1])
            read, profile = log.interactions(*rows), await parts.store.profile(user)
            history, bought = profile.history(), profile.bought()
            assert same(read, history), (user, moment)
            assert same(log.purchases(*rows), bought), (user, moment)
            every = log.searches.of(number, 0, MAX_TIME_MS)
            newest = Searches(every.times[-PROFILE_SEARCHES:], every.texts[-PROFILE_SEARCHES:])
            asked = profile.searches_until()
            assert same([newest.times], [asked.times]) and newest.texts == [*asked.texts]
            for length in (LENGTH, PROFILE_INTERACTIONS):
                ours = featurize([read], bundle.vocabulary, length, [newest])
                assert same(ours, featurize([history], bundle.vocabulary, length, [asked]))
            times = log.times[rows[1] - 1 :][:1]
            strengths = [
                own_repeat(PurchaseTable.of([each]), times, 60.0)
                for each in (log.purchases(*rows), bought)
            ]
            assert same(strengths[:1], strengths[1:])
            assert same(seeds_of(Histories.of([read])), seeds_of(Histories.of([history])))
    # The log was worth the comparison.
    profile = await parts.store.profile("hoarder")
    history, bought = profile.history(), profile.bought()
    assert len(history.items) == PROFILE_INTERACTIONS
    assert len(bought.items) == PROFILE_PURCHASES
    assert (bought.days == bought.days[-1]).sum() > 1, "the bound falls within a day"
    assert (np.diff(history.times) == 0).sum() > 10
    assert (featurize([history], bundle.vocabulary, 100).items == UNKNOWN).any()
    assert query_windows([history], [profile.searches_until()], 100).any()
    assert len(log.searches.of(log.user_ids.index("hoarder"), 0, NOW).texts) > PROFILE_SEARCHES
    assert len({*map(str, events)}) < len(events)
    left = (await parts.store.profile("dot")).history().times
    assert 0 < len(left) < 40 and left.min() > late
    assert "anonymous" in log.user_ids


@pytest.mark.parametrize(("repeats_allowed", "queries"), [(True, False), (False, True)])
async def test_a_log_is_judged_by_the_lists_that_a_worker_makes(
    parts: Parts, bundle: Bundle, tmp_path: Path, repeats_allowed: bool, queries: bool
) -> None:
    if queries:
        bundle = made_bundle(tmp_path / "bundle", queries=True)
        parts = replace(parts, ranker=Ranker(bundle, Execution("cpu")))
    manifest = msgspec.structs.replace(bundle.manifest, repeats_allowed=repeats_allowed)
    parts = replace(parts, bundle=replace(bundle, manifest=manifest))
    events = arrivals(2)
    bought_next = [
        Purchase(event_id=f"next-{user}", user_id=user, ts=MIDNIGHT, item_id=KNOWN[0])
        for user in USERS
    ]
    log = read_back([*events, *bought_next], tmp_path)
    baskets = next_baskets(log, MIDNIGHT, MIDNIGHT + 1)
    judge = Judge(
        bundle.model_path,
        bundle.vocabulary,
        log,
        length=LENGTH,
        popularity_half_life_days=14,
        repeat_half_life_days=60,
        repeats_allowed=repeats_allowed,
    )
    table = judge.candidates(baskets)
    judged = blend(WEIGHTS, table.signals)

    await live(parts, events, 0, seed=5)
    lasts = {event.user_id: event for event in events if event.event_id.endswith("-last")}
    records = records_of([lasts[user] for user in USERS], first=len(events))
    decoded, _ = decode(records, NOW)
    requests = list_requests(parts, decoded, await take(parts, records))
    assert [request.user_id for request in requests] == list(USERS)
    await parts.candidates.refresh_popular()
    gathered = await parts.candidates.gather(requests)
    lists = (await decide(parts, Prepared(requests, gathered, [], {}))).lists

    diversity = diversity_of(bundle, 0.3)
    assert diversity is not None
    no_categories = np.zeros(len(log.item_ids), np.int32)
    places, ends = varied(table, judged, diversity, no_categories)
    varied_lists = np.split(table.item[places], ends[:-1])
    varying = replace(parts, policy=Policy(parts.catalog, diversity=diversity), list_length=SHOWN)
    varied_served = (await decide(varying, Prepared(requests, gathered, [], {}))).lists

    assert len(baskets) == len(USERS)
    compared = 0
    for number in range(len(USERS)):
        user = log.user_ids[log.users[baskets.history_ends[number]]]
        at = USERS.index(user)
        here = np.flatnonzero(table.basket == number)
        place = {log.item_ids[table.item[row]]: int(row) for row in here}
        served = {each.item_id: each.score for each in lists[at].items}
        assert served.keys() == place.keys()
        assert served == pytest.approx(
            {item: float(judged[row]) for item, row in place.items()}, abs=2e-3
        )
        first = [served[log.item_ids[item]] for item in table.lists(WEIGHTS)[number]]
        assert first == pytest.approx([each.score for each in lists[at].items[:10]], abs=2e-3)
        shown = [each.item_id for each in varied_served[at].items]
        assert shown == [log.item_ids[item] for item in varied_lists[number]]
        assert shown != [each.item_id for each in lists[at].items[:SHOWN]]
        compared += check_signals(parts, gathered[at], table.signals, place)
        barred = {parts.catalog.items[row].item_id for row in gathered[at].rows} - place.keys()
        looking_at = {requests[at].current_item} - {None}
        assert barred >= looking_at if not repeats_allowed else barred == looking_at
    # The log was worth the comparison.
    assert compared > 300
    assert {request.current_item is None for request in requests} == {True, False}
    for origin in (Origin.REPEAT, Origin.TOGETHER, Origin.POPULAR):
        alone = [(each.sources & (origin | Origin.REPEAT) == origin).any() for each in gathered]
        assert all(alone), origin
    assert any("nearest" in item.sources for made in lists for item in made.items)
    most = max(
        len(each.items) for each in await parts.counts.neighbours(item_hashes(KNOWN).tolist(), 1000)
    )
    assert NEIGHBOURS < most < 96, "more than are read, and none pruned"


def check_signals(parts: Parts, found: Candidates, signals: Signals, place: dict[str, int]) -> int:
    """What a worker knows of its candidates is what the judge knows; returns how many these are."""
    compared = 0
    for at, row in enumerate(found.rows.tolist()):
        judged = place.get(parts.catalog.items[row].item_id)
        if judged is None:
            continue
        compared += 1
        assert signals.rows[judged] == parts.catalog.model_rows[row]
        assert signals.repeat[judged] == found.repeat[at]
        assert signals.covisit[judged] == pytest.approx(found.together[at], rel=1e-5)
        assert signals.popular[judged] == pytest.approx(found.popular[at], rel=1e-5)
    return compared


def test_the_counts_keep_what_lists_read_of_them() -> None:
    assert POPULAR <= counts.MAX_POPULAR
