"""The order of new items: its weights, and that a worker computes what a log is judged by."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cold_lists import NewestPopular, NewItems, new_items, recall
from benchmarks.fresh_lists import FreshLists
from model.affinity import Affinities
from model.dataset import EventLog, next_baskets
from model.events import Purchase
from model.fresh_fit import Choices, fitted_fresh_weights
from model.fresh_score import FreshSignals, FreshWeights, fresh_scores
from model.items import Item
from model.proposals import best_rows
from serving.counts import Counts
from serving.list_request import ListRequest, RequestTable
from serving.new_sources import Fresh
from serving.popularity import Popularity
from serving.recommendation import AsOf
from serving.source import Asked
from tests.parts import open_parts, records_of, take
from tests.planted import at, log_of

KINDS = 60
WEIGHTS = FreshWeights(popular=0.5, category=1.5, brand=0.75, smoothing=3.0)


def lovers() -> tuple[EventLog, list[Item]]:
    """Everyone buys of one kind alone, and on day 20 and 21 the new item of it; so that of the
    new items the user's kind tells which, and what sells nothing."""
    rows = [
        (f"user-{kind}-{user}", f"{kind}-{day % 3}", at(day + 0.4 + user / 100))
        for kind in range(KINDS)
        for user in range(3)
        for day in range(20)
    ]
    rows += [
        (f"user-{kind}-{user}", f"{kind}-new", at(20.4 + user / 100 + user % 2))
        for kind in range(KINDS)
        for user in range(3)
    ]
    names = dict.fromkeys(item for _, item, _ in rows)
    items = [
        Item(item_id=name, category=("shop", name.split("-")[0]), brand=f"b{len(name) % 2}")
        for name in names
    ]
    return log_of(rows), items


def asked_about(log: EventLog) -> NewItems:
    baskets = next_baskets(log, at(20), at(22))
    return new_items(log, baskets, at(20), at(22))


def test_what_a_user_takes_finds_the_buyers_where_popularity_does_not() -> None:
    log, items = lovers()
    new = asked_about(log)
    lists = FreshLists(log, items, 14)
    weights = lists.fitted(new, unsold=False)
    assert weights.category > 0
    scores = list(lists.scores(new, weights))
    for targets, each in zip(new.targets, scores, strict=True):
        assert np.argmax(each) == targets[0]
    popular = list(lists.signals(new, 1.0).popular)
    assert recall(new, scores) == 1 > recall(new, popular)
    # At the level of the whole shop categories tell the baseline nothing either.
    assert recall(new, NewestPopular(log, items, 14).scores(new, 0, by_share=False)) < 1


def random_signals(lists: int, items: int) -> FreshSignals:
    chance = np.random.default_rng(3)
    popular, category, brand = chance.normal(size=(3, lists, items)).astype(np.float32)
    return FreshSignals(np.maximum(popular, 0), Affinities(category, brand))


def chosen_by(weights: FreshWeights, signals: FreshSignals) -> Choices:
    """Each list takes one item, with chances that are exponential in the score."""
    chance = np.random.default_rng(5)
    scores = fresh_scores(weights, signals) + chance.gumbel(size=signals.popular.shape)
    return Choices([each.argmax(keepdims=True) for each in scores], np.ones(scores.shape, np.bool_))


def test_the_weights_by_which_items_were_chosen_are_found_again() -> None:
    signals = random_signals(4000, 12)
    planted = FreshWeights(popular=1.5, unsold=0.75, category=1.0, brand=0.5)
    found = fitted_fresh_weights(
        lambda smoothing: signals, chosen_by(planted, signals), unsold=True
    )
    for name in ("popular", "unsold", "category", "brand"):
        assert getattr(found, name) == pytest.approx(getattr(planted, name), abs=0.1), name


def test_no_weight_is_below_zero_and_unsold_items_get_none_unasked() -> None:
    signals = random_signals(1000, 12)
    choices = chosen_by(FreshWeights(popular=-2, unsold=2, category=1, brand=-1), signals)
    found = fitted_fresh_weights(lambda smoothing: signals, choices)
    assert (found.popular, found.unsold, found.brand) == (0, 0, 0)
    assert found.category > 0.5


def test_of_equal_scores_the_first_item_comes_first_and_lists_stay_apart() -> None:
    scores = np.array([[1, 2, 2, 2, 0], [5, 0, 0, 6, 0]], np.float32)
    found = best_rows(scores, np.array([40, 30, 20, 10, 0]), 3)
    assert found.owner.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.rows.tolist() == [30, 20, 10, 10, 40, 30]
    assert best_rows(scores, np.arange(5), 9).rows.tolist() == [1, 2, 3, 0, 4, 3, 0, 1, 2, 4]


async def test_a_source_that_is_off_puts_no_item_into_groups(redis_url: str) -> None:
    _, items = lovers()
    async with open_parts(redis_url, items) as parts:
        popular = Popularity(parts.catalog)
        watchers: list[object] = []
        parts.catalog.watch = watchers.append  # type: ignore[method-assign,assignment]
        Fresh(0, popular, parts.catalog, WEIGHTS)
        assert not watchers
        Fresh(1, popular, parts.catalog, WEIGHTS)
        assert len(watchers) == 1


async def test_a_worker_computes_what_a_log_is_judged_by(redis_url: str) -> None:
    log, items = lovers()
    new = asked_about(log)
    # The first day's baskets: counts are those of its midnight.
    first = new.baskets.take(np.arange(len(new.baskets))[[0, 2, 9]])
    new = NewItems(new.items, first, [new.targets[at] for at in (0, 2, 9)], new.listed[[0, 2, 9]])
    judged = FreshLists(log, items, 14).signals(new, WEIGHTS.smoothing)
    midnight = at(20)
    async with open_parts(redis_url, items) as parts:
        parts = replace(parts, counts=Counts(parts.store, shards=4, half_life_days=14))
        before = np.flatnonzero(log.times < midnight)
        events = [
            Purchase(event_id=str(row), user_id=log.user_ids[log.users[row]],
                     ts=int(log.times[row]), item_id=log.item_ids[log.items[row]], quantity=1)
            for row in before[np.argsort(log.times[before], kind="stable")].tolist()
        ]  # fmt: skip
        learned = await take(parts, records_of(events))
        popular = Popularity(parts.catalog)
        popular.refresh(await parts.counts.popular())
        users = [log.user_ids[log.users[end - 1]] for end in new.baskets.ends.tolist()]
        requests = RequestTable(
            [
                ListRequest(user, "e", midnight, AsOf("events", 0, 0), learned[user].profile)
                for user in users
            ]
        )
        asked = Asked(requests, parts.catalog, parts.counts.weights(requests.times))
        source = Fresh(9, popular, parts.catalog, WEIGHTS)
        rows = np.array([parts.catalog.row_of(log.item_ids[item]) for item in new.items])
        served = source.signals(asked, rows)
    # The shared counts add up in another order than a file.
    for one, other in ((served.popular, judged.popular), (served.affinities, judged.affinities)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    one_order, other_order = (
        np.argsort(-fresh_scores(WEIGHTS, each).round(3), axis=1, kind="stable")
        for each in (served, judged)
    )
    assert np.array_equal(one_order, other_order)
