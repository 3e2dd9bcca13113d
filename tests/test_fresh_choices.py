"""The weights of new items, learned from who took which little known item of a log."""

import pytest
from msgspec import structs

from model.dataset import next_baskets
from model.features import DAY_MS
from model.fresh_choices import LEAST_TAKEN, fresh_weights_of
from model.fresh_score import FreshWeights
from model.log_catalogue import LogCatalogue
from tests.planted import FIRST_DAY, at
from tests.test_fresh import lovers


def test_that_everyone_keeps_to_his_kind_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.fresh_choices.DEPTH", 1)
    # By the defaults the one new item of everyone's kind comes first already.
    monkeypatch.setattr("model.fresh_choices.FreshWeights", lambda: FreshWeights(category=0.0))
    log, items = lovers()
    found = fresh_weights_of(next_baskets(log, at(20), at(22)), LogCatalogue(log, items), 14)
    assert found.taken > LEAST_TAKEN
    assert found.weights == found.learned
    assert found.learned.category > 1
    assert found.recall[0] < found.recall[1] == 1


def test_weights_that_find_no_more_buyers_of_new_items_are_not_taken() -> None:
    log, items = lovers()
    found = fresh_weights_of(next_baskets(log, at(20), at(22)), LogCatalogue(log, items), 14)
    assert found.recall == pytest.approx((1, 1))
    assert found.weights == FreshWeights()
    assert found.learned != found.weights


def test_what_came_up_on_the_day_of_a_basket_teaches_nothing() -> None:
    log, items = lovers()
    baskets = next_baskets(log, at(20), at(22))
    found = fresh_weights_of(baskets, LogCatalogue(log, items), 14)
    # Those who buy the new item of their kind a day later than others are left.
    later = sum(baskets.time(number) >= (FIRST_DAY + 21) * DAY_MS for number in range(len(baskets)))
    assert 0 < later < len(baskets)
    assert found.taken == later


def test_of_a_few_baskets_nothing_is_learned() -> None:
    log, items = lovers()
    catalogue = LogCatalogue(log, [structs.replace(item, created=at(19)) for item in items])
    few = next_baskets(log, at(20), at(22)).spread(LEAST_TAKEN - 1)
    found = fresh_weights_of(few, catalogue, 14)
    assert found.weights == FreshWeights()
    assert 0 < found.taken < LEAST_TAKEN
