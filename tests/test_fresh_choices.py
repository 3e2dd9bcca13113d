"""The weights of new items, learned from who took which little known item of a log."""

from msgspec import structs

from model.dataset import next_baskets
from model.features import DAY_MS
from model.fresh_choices import LEAST_TAKEN, fresh_weights_of
from model.fresh_score import FreshWeights
from model.log_catalogue import LogCatalogue
from tests.planted import FIRST_DAY, at
from tests.test_fresh import lovers


def test_that_everyone_keeps_to_his_kind_is_learned() -> None:
    log, items = lovers()
    announced = [structs.replace(item, created=at(19)) for item in items]
    catalogue = LogCatalogue(log, announced)
    baskets = next_baskets(log, at(20), at(22))
    found = fresh_weights_of(baskets, catalogue, 14)
    assert found.weights.category > 1
    assert found.taken > LEAST_TAKEN


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
