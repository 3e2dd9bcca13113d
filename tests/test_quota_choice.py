"""Quotas rise where lists gain by them, and nowhere else."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals
from model.candidate_table import CandidateTable
from model.dataset import Baskets, EventLog, next_baskets
from model.fresh_choices import FittedFresh
from model.fresh_score import FreshWeights
from model.quota_choice import TRIED, ChosenQuotas, choose_quotas
from tests.planted import at, log_of

BASKETS = 60
FITTED = FittedFresh(FreshWeights(), FreshWeights(), 0, 0, (0.0, 0.0))
POPULAR = BlendWeights(network=0.0, repeat=0.0, popular=1.0)
"""The higher the popularity, the higher an item stands."""
GOLD, DUST = 0, 1
"""What everybody buys, and what nobody does."""
OTHERS = [*range(2, 80)]


def log() -> EventLog:
    """Everybody buys the gold after something else; all of the others are there."""
    rows = [(f"u{user}", f"item-{OTHERS[user % 78]:02}", at(1)) for user in range(78)]
    rows += [(f"u{user}", "item-00", at(2)) for user in range(BASKETS)]
    rows += [("u77", "item-01", at(3))]
    return log_of(sorted(rows, key=lambda row: row[1]))


def bits(in_category: int | None = None, fresh: int | None = None) -> int:
    """The quotas under which there is what a source proposes from a quota on; None: under all."""
    return sum(
        1 << number
        for number, each in enumerate(TRIED)
        if (in_category is None or each.in_category >= in_category)
        and (fresh is None or each.fresh >= fresh)
    )


def table_of(proposed: list[tuple[int, float, int]]) -> CandidateTable:
    """The same candidates for everybody: (item, popularity, bits of the quotas)."""
    shop = log()
    baskets: Baskets = next_baskets(shop, at(2), at(2.5))
    items = np.array([shop.item_ids.index(f"item-{item:02}") for item, _, _ in proposed], np.int64)
    places = np.argsort(items)

    def every(values: Sequence[float]) -> NDArray[np.generic]:
        return np.tile(np.array(values)[places], len(baskets))

    nothing = np.zeros(len(baskets) * len(items), np.float32)
    return CandidateTable(
        baskets,
        np.repeat(np.arange(len(baskets)), len(items)),
        np.tile(items[places], len(baskets)),
        Signals(
            rows=np.ones(len(nothing), np.int64), network=nothing, repeat=nothing,
            covisit=nothing, chosen=nothing,
            popular=every([value for _, value, _ in proposed]).astype(np.float32),
        ),
        every([item == GOLD for item, _, _ in proposed]).astype(np.bool_),
        [np.empty(0, np.int64)] * len(baskets),
        every([mark for _, _, mark in proposed]).astype(np.uint8),
    )  # fmt: skip


def chosen(proposed: list[tuple[int, float, int]], *, new: int | None = None) -> ChosenQuotas:
    table = table_of(proposed)
    ids = table.baskets.log.item_ids
    is_new = np.array([new is not None and each == f"item-{new:02}" for each in ids])
    return choose_quotas(table, POPULAR, is_new, FITTED)


CORE = [(item, 100.0 - item, bits()) for item in OTHERS]
"""More than a list of fifty holds, and none of it is bought."""


def test_nothing_is_gained_and_nothing_rises() -> None:
    found = chosen([*CORE, (DUST, 500.0, bits(30, 0)), (GOLD, 1.0, bits())])
    assert (found.number, found.quotas.in_category, found.quotas.fresh) == (0, 0, 0)


@pytest.mark.parametrize("least", [30, 100])
def test_the_quota_rises_to_what_brings_the_gain(least: int) -> None:
    found = chosen([*CORE, (GOLD, 500.0, bits(in_category=least))])
    assert found.quotas.in_category == least
    assert found.quotas.fresh == 0, "it brings nothing more"
    assert TRIED[found.number].in_category == least
    trials = {(each.in_category, each.fresh): each for each in found.report.trials}
    assert trials[least, 0].ndcg == pytest.approx(1) == trials[least, 0].ndcg_gain
    assert trials[0, 30].ndcg == 0


def test_of_equal_gains_the_least_quota_is_chosen() -> None:
    assert chosen([*CORE, (GOLD, 500.0, bits(in_category=30))]).quotas.in_category == 30


def test_new_items_that_buyers_get_to_see_raise_fresh_where_the_first_ten_lose_nothing() -> None:
    # Place 30: among the first fifty, and not among the first ten.
    seen = [*CORE, (GOLD, 70.5, bits(fresh=30))]
    assert chosen(seen, new=GOLD).quotas.fresh == 30
    assert chosen(seen).quotas.fresh == 0, "of an item that is not new that is no reason"
    report = chosen(seen, new=GOLD).report
    assert report.baskets_with_new == BASKETS
    assert {each.fresh: each.new_recall for each in report.trials} == {0: 0, 30: 1}


def test_new_items_that_cost_the_first_ten_do_not_raise_fresh() -> None:
    # The gold is tenth, until eleven others that nobody buys push it down.
    gold = (GOLD, 90.5, bits())
    pushing = [(DUST, 500.0, bits(fresh=30))]
    assert chosen([*CORE, gold, *pushing], new=DUST).quotas.fresh == 0
    found = chosen([*CORE, gold, *pushing], new=GOLD)
    assert found.quotas.fresh == 0
    assert min(each.ndcg_gain for each in found.report.trials) < 0


def test_a_place_for_new_items_is_given_where_it_costs_nothing() -> None:
    first = chosen([*CORE, (GOLD, 500.0, bits())])
    assert (first.quotas.new, first.report.new_place_lost) == (1, 0)
    # 98 to 90 come before it.
    tenth = chosen([*CORE, (GOLD, 89.5, bits())])
    assert (tenth.quotas.new, tenth.report.new_place_lost) == (0, 1)
