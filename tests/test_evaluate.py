"""Evaluation: figures by hand, and lists made of nothing but the past."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.blend import BlendWeights, blend
from model.candidate_table import CandidateTable
from model.dataset import Baskets, EventLog, next_baskets
from model.evaluate import Judge
from model.events import INTERACTION_KINDS, Cart, Click, Favorite, Interaction
from model.export import export_network
from model.features import UNKNOWN, Vocabulary, featurize
from model.network import Network, NetworkConfig
from model.top_metrics import rank_metrics
from tests.planted import at, log_of

LENGTH = 8
OWN_HABITS = BlendWeights(network=0.0, repeat=1.0)


def test_metrics_by_hand() -> None:
    found = rank_metrics(
        [["a", "b", "c"], ["x"], [], ["a", *"bcdefghi", "z", "late"]],
        [{"a", "c", "never shown"}, {"a"}, {"a"}, {"late"}],
    )
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found.hit == pytest.approx(1 / 4)
    assert found.ndcg == pytest.approx((1 + 1 / math.log2(4)) / best / 4)
    assert found.baskets == 4
    assert found.named() == {"hit@10": found.hit, "ndcg@10": found.ndcg, "baskets": 4.0}


def test_a_perfect_list_of_a_large_basket_is_worth_one() -> None:
    found = rank_metrics([np.arange(10)], [set(range(40))])
    assert found.hit == 1.0
    assert found.ndcg == pytest.approx(1.0)


def test_the_tenth_counts_and_the_eleventh_does_not() -> None:
    assert rank_metrics([np.arange(11)], [{9}]).ndcg == pytest.approx(1 / math.log2(11))
    assert rank_metrics([np.arange(11)], [{10}]).hit == 0.0


@pytest.mark.parametrize(("lists", "baskets"), [([], []), ([["a"]], []), ([], [{"a"}])])
def test_nothing_to_judge_is_refused(lists: list[list[str]], baskets: list[set[str]]) -> None:
    with pytest.raises(ValueError, match="need as many, and some"):
        rank_metrics(lists, baskets)


def shop() -> EventLog:
    """Twenty users with habits of their own, over twelve days; some of it in baskets."""
    chance = np.random.default_rng(4)
    rows = []
    for user in range(20):
        for day in range(12):
            time = at(day) + int(chance.integers(0, 80_000_000))
            for item in chance.choice(5, chance.integers(1, 4), replace=False):
                rows.append((f"u{user}", f"item-{(user * 3 + item) % 40:02}", time))
    rows.append(("u0", "rare", at(11.9)))
    rows.append(("newcomer", "item-01", at(11.95)))
    return log_of(rows)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vocabulary]:
    """An untrained network that knows all items but ``rare``."""
    torch.manual_seed(0)
    log = shop()
    vocabulary = Vocabulary([item for item in log.item_ids if item != "rare"])
    network = Network(NetworkConfig(len(vocabulary), length=LENGTH, dim=8, blocks=1))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    users = featurize([log.interactions(0, 5), log.interactions(5, 9)], vocabulary, LENGTH)
    export_network(network, path, users, top_k=12)
    return path, vocabulary


def judged(
    graph: tuple[Path, Vocabulary], log: EventLog, baskets: Baskets, *, repeats_allowed: bool = True
) -> CandidateTable:
    judge = Judge(
        *graph,
        log,
        length=LENGTH,
        popularity_half_life_days=14,
        repeat_half_life_days=60,
        repeats_allowed=repeats_allowed,
    )
    return judge.candidates(baskets)


@pytest.fixture(scope="module")
def table(graph: tuple[Path, Vocabulary]) -> CandidateTable:
    log = shop()
    return judged(graph, log, next_baskets(log, at(8), at(12)))


@pytest.mark.parametrize("lists", [10_000, 20])
def test_what_is_listed_is_what_stands_on_the_lists(table: CandidateTable, lists: int) -> None:
    weights = BlendWeights(network=0.5, popular=0.3)
    listed = table.listed(weights, lists)
    step = -(-len(table.baskets) // lists)
    some = range(0, len(table.baskets), step)
    assert len(some) <= lists
    made = table.lists(weights)
    users = table.baskets.log.users[table.baskets.history_ends]
    assert listed.users.tolist() == [int(users[n]) for n in some for _ in made[n]]
    targets = [set(table.baskets.targets(n).tolist()) for n in some]
    assert listed.taken.tolist() == [
        item in bought for n, bought in zip(some, targets, strict=True) for item in made[n].tolist()
    ]
    scores = blend(weights, table.signals)
    start = 0
    for number in some:
        best = np.sort(scores[table.basket == number])[::-1][:10]
        assert listed.scores[start : start + len(best)].tolist() == best.tolist()
        start += len(best)
    assert start == len(listed.scores)


def own(table: CandidateTable, number: int) -> set[int]:
    baskets = table.baskets
    part = slice(baskets.history_starts[number], baskets.history_ends[number])
    return set(baskets.log.items[part].tolist())


def test_every_source_brings_candidates_and_none_comes_twice(table: CandidateTable) -> None:
    assert len(table.baskets) > 60
    assert (np.diff(table.basket) >= 0).all()
    popular_only = 0
    for number in range(len(table.baskets)):
        here = table.basket == number
        items = table.item[here].tolist()
        assert len(items) == len(set(items))
        assert own(table, number) <= set(items)
        assert set(table.nearest[number].tolist()) <= set(items)
        assert set(table.item[here & (table.signals.repeat > 0)].tolist()) == own(table, number)
        popular_only += len(set(items) - own(table, number))
        targets = table.baskets.targets(number)
        assert table.bought[here].tolist() == np.isin(table.item[here], targets).tolist()
    assert popular_only > 0
    assert (table.signals.covisit > 0).any()


def test_signals_are_those_of_the_item_whatever_source_it_came_from(table: CandidateTable) -> None:
    unknown = table.signals.rows == UNKNOWN
    names = {table.baskets.log.item_ids[item] for item in table.item[unknown]}
    assert names <= {"rare"}
    by_day_and_item: dict[tuple[int, int], set[float]] = {}
    for basket, item, popular in zip(
        table.basket, table.item, table.signals.popular.tolist(), strict=True
    ):
        day = table.baskets.time(int(basket)) // 86_400_000
        by_day_and_item.setdefault((day, int(item)), set()).add(popular)
    assert all(len(values) == 1 for values in by_day_and_item.values())


def test_the_future_changes_nothing(graph: tuple[Path, Vocabulary], table: CandidateTable) -> None:
    log = table.baskets.log
    for number in range(0, len(table.baskets), 7):
        time, user = table.baskets.time(number), log.users[table.baskets.history_ends[number]]
        known = (log.times < time) | ((log.times == time) & (log.users == user))
        past = replace(
            log,
            users=log.users[known],
            items=log.items[known],
            kinds=log.kinds[known],
            times=log.times[known],
        )
        alone = judged(graph, past, next_baskets(past, time, time + 1))
        here = table.basket == number
        order, others = np.argsort(table.item[here]), np.argsort(alone.item)
        assert np.array_equal(table.item[here][order], alone.item[others])
        for name in ("network", "repeat", "covisit", "popular"):
            ours, theirs = (getattr(each.signals, name) for each in (table, alone))
            assert np.allclose(ours[here][order], theirs[others], atol=1e-5), name


def test_repeat_alone_ranks_by_habit_with_the_newest_habits_first(table: CandidateTable) -> None:
    lists = table.lists(OWN_HABITS)
    for number, ranked in enumerate(lists):
        here = table.basket == number
        strength = dict(zip(table.item[here], table.signals.repeat[here], strict=True))
        found = [float(strength[item]) for item in ranked]
        assert found == sorted(strength.values(), reverse=True)[:10]


def test_the_figures_of_a_table_are_those_of_its_lists(table: CandidateTable) -> None:
    expected = rank_metrics(table.lists(OWN_HABITS), table.baskets.target_sets())
    assert table.metrics(OWN_HABITS) == expected
    assert 0.5 < expected.hit < 1.0


def test_where_items_may_not_return_no_list_holds_one(graph: tuple[Path, Vocabulary]) -> None:
    log = shop()
    table = judged(graph, log, next_baskets(log, at(8), at(12)), repeats_allowed=False)
    served = 0
    for number, ranked in enumerate(table.lists(BlendWeights())):
        assert not own(table, number) & set(ranked.tolist())
        assert not own(table, number) & set(table.nearest[number].tolist())
        served += len(ranked)
    assert served > 100
    assert not table.signals.repeat.any()


def test_someone_without_a_history_gets_a_list(table: CandidateTable) -> None:
    log = table.baskets.log
    newcomer = log.user_ids.index("newcomer")
    (number,) = np.flatnonzero(log.users[table.baskets.history_ends] == newcomer)
    assert len(table.lists(BlendWeights())[number]) == 10


@pytest.mark.parametrize(("kind", "barred"), [(Click, True), (Cart, True), (Favorite, False)])
def test_what_the_user_is_looking_at_is_not_recommended(
    graph: tuple[Path, Vocabulary], kind: type[Interaction], barred: bool
) -> None:
    bought = [("ann", f"item-0{number}", at(number)) for number in range(8)]
    log = log_of([*bought, ("ann", "item-03", at(8.5)), ("ann", "item-03", at(9))])
    kinds = np.where(log.times == at(8.5), INTERACTION_KINDS[kind], log.kinds).astype(np.uint8)
    log = replace(log, kinds=kinds)
    table = judged(graph, log, next_baskets(log, at(9), at(10)))
    item = log.item_ids.index("item-03")
    assert (item not in table.item) == barred
    assert len(table.item) == 8 - barred
    assert not (barred and item in table.nearest[0])


def test_items_that_the_log_does_not_have_are_no_candidates(
    graph: tuple[Path, Vocabulary],
) -> None:
    rows = [("ann", f"item-0{number}", at(number)) for number in range(8)]
    log = log_of([*rows, ("ann", "item-07", at(9))])
    table = judged(graph, log, next_baskets(log, at(9), at(10)))
    assert sorted(table.item.tolist()) == list(range(8))
    assert (table.signals.rows == graph[1].index_of(log.hashes[table.item])).all()
    assert set(table.nearest[0].tolist()) <= set(range(8))
