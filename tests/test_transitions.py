"""Tuned counts by hand, and on a circle where the next item is known."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from model.choice import Budget
from model.ranks import Ranks, judge
from model.sequences import Sequences
from model.sparse_rows import SparseRows
from model.splits import leave_one_out, prefixes
from model.transitions import Pairs, Transitions, TransitionSettings, reach_of
from tests.sequence_shop import circle, named

PLAIN = TransitionSettings(
    gap_decay=0.5, gap_power=0.0, backward=0.0, count_power=1.0, row_damping=0.0,
    target_damping=0.0, history_decay=0.5, repeat=0.0, recency=0.0, back_off=0.0,
)  # fmt: skip


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def weights(lists: list[str], settings: TransitionSettings, reach: int = 5) -> dict[str, float]:
    """Pair of letters to its count."""
    found = named(lists)
    rows = Pairs(found, reach).counts(settings)
    ids = found.item_ids
    return {
        ids[row] + ids[column]: float(value)
        for row, column, value in zip(rows.rows, rows.columns, rows.values, strict=True)
        if value
    }


def test_a_pair_counts_by_its_distance() -> None:
    assert weights(["abc", "ab"], PLAIN) == {"ab": 2, "bc": 1, "ac": 0.5}
    assert weights(["abc"], replace(PLAIN, gap_decay=1.0, gap_power=1.0))["ac"] == 0.5
    assert weights(["abc"], PLAIN, reach=1) == {"ab": 1, "bc": 1}


def test_a_pair_counts_backward_too() -> None:
    assert weights(["abc"], replace(PLAIN, backward=0.25)) == pytest.approx(
        {"ab": 1, "bc": 1, "ac": 0.5, "ba": 0.25, "cb": 0.25, "ca": 0.125}
    )


def test_the_power_is_that_of_the_whole_count() -> None:
    assert weights(["ab"] * 9, replace(PLAIN, count_power=0.5)) == pytest.approx({"ab": 3})


def test_newer_sequences_weigh_more() -> None:
    found = weights(["ab", "cd", "ef"], replace(PLAIN, recency=2.0))
    assert found == pytest.approx({"ab": 0.25, "cd": 0.5, "ef": 1.0})


def test_pairs_do_not_cross_sequences() -> None:
    assert weights(["ab", "cd", "", "e"], PLAIN) == {"ab": 1, "cd": 1}
    assert weights(["a", "b"], PLAIN) == {}
    assert weights(["aa"], replace(PLAIN, backward=0.5)) == {"aa": 1.5}


def test_pairs_agree_with_a_loop() -> None:
    chance = np.random.default_rng(5)
    lists = ["".join(chance.choice(list("abcdefg"), chance.integers(0, 12))) for _ in range(40)]
    settings = replace(PLAIN, backward=0.3, gap_decay=0.8, gap_power=0.4)
    expected: dict[str, float] = {}
    for each in lists:
        for first, second in product(range(len(each)), repeat=2):
            gap = second - first
            if gap and abs(gap) <= 4:
                worth = 0.8 ** (abs(gap) - 1) * abs(gap) ** -0.4 * (1.0 if gap > 0 else 0.3)
                pair = each[first] + each[second]
                expected[pair] = expected.get(pair, 0.0) + worth
    assert weights(lists, settings, reach=4) == pytest.approx(expected, rel=1e-5)


def test_the_reach_is_cut_to_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.transitions.MOST_PAIRS", 10)
    # Three pairs at distance one, each counted in both directions; two more at distance two.
    assert Pairs(named(["abcd"]), 3).reach == 2
    monkeypatch.setattr("model.transitions.MOST_PAIRS", 9)
    assert Pairs(named(["abcd"]), 3).reach == 1


def test_a_reach_that_does_not_fit_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="above 127"):
        Pairs(named(["ab"]), 128)


def scored(train: Sequences, settings: TransitionSettings, history: str) -> dict[str, float]:
    method = Transitions(ndcg, start=settings)
    method.refit(train)
    [scores] = method.scores(named([history], "".join(train.item_ids)))
    return dict(zip(train.item_ids, scores.tolist(), strict=True))


def test_scores_sum_over_the_history_and_fade_with_age() -> None:
    train = named(["ac", "ac", "bc", "bd"])
    assert scored(train, PLAIN, "ab") == pytest.approx({"a": 0, "b": 0, "c": 2.0, "d": 1.0})
    assert scored(train, PLAIN, "ba") == pytest.approx({"a": 0, "b": 0, "c": 2.5, "d": 0.5})


def test_damping_divides_by_how_common_both_items_are() -> None:
    train = named(["ac", "ac", "bc", "bd"])
    rows = scored(train, replace(PLAIN, row_damping=1.0), "b")
    assert (rows["c"], rows["d"]) == pytest.approx((0.5, 0.5))
    columns = scored(train, replace(PLAIN, target_damping=1.0), "b")
    assert (columns["c"], columns["d"]) == pytest.approx((1 / 3, 1.0))


def test_repeats_and_popularity_are_added() -> None:
    train = named(["ab", "ab"], "abc")
    assert scored(train, replace(PLAIN, repeat=0.4), "ab") == pytest.approx(
        {"a": 0.2, "b": 1.0 * 0.5 * 2 + 0.4, "c": 0.0}
    )
    assert scored(train, replace(PLAIN, back_off=0.1), "c") == pytest.approx(
        {"a": 0.1, "b": 0.1, "c": 0.0}
    )


def test_an_empty_history_gets_what_is_popular() -> None:
    assert scored(named(["ab", "b"]), replace(PLAIN, back_off=1.0), "") == {"a": 0.5, "b": 1.0}


def test_the_next_item_of_a_circle_is_always_first() -> None:
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=True)
    method = Transitions(ndcg, budget=Budget(trials=12), cases=100)
    method.fit(split.train, split.validation)
    assert method.choice is not None
    assert 1 < method.choice.trials <= 12
    method.refit(split.final)
    assert judge(method, split.test).ndcg(10).min() == 1.0


def test_the_choice_finds_that_order_goes_backward() -> None:
    # In validation every session is walked the other way round.
    sessions = circle(60, 4)
    turned = prefixes(Sequences(sessions.items[::-1].copy(), sessions.starts, sessions.item_ids))
    start = replace(PLAIN, back_off=0.001)
    method = Transitions(
        ndcg,
        start=start,
        grid={"backward": (0.0, 1.0, 5.0)},
        budget=Budget(trials=50),
    )
    method.fit(sessions, turned)
    assert method.settings()["backward"] == 5.0
    assert judge(method, turned).hit(1).mean() > 0.9


def test_the_choice_skips_repeats_where_seen_items_are_not_ranked() -> None:
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=True)
    method = Transitions(
        ndcg, start=PLAIN, grid={"repeat": (0.0, 0.5, 1.0)}, budget=Budget(trials=50)
    )
    method.fit(split.train, split.validation)
    assert method.choice is not None
    assert method.choice.trials == 1


def test_reach_of_a_decay() -> None:
    assert [reach_of(decay) for decay in (0.0, 0.1, 0.5, 0.9)] == [1, 3, 7, 44]
    with pytest.raises(ValueError, match="never ends"):
        reach_of(1.0)


def table(seed: int, size: int, density: float) -> tuple[SparseRows, np.ndarray]:
    chance = np.random.default_rng(seed)
    full = chance.random((size, size)).astype(np.float32) * (chance.random((size, size)) < density)
    keys = np.flatnonzero(full)
    return SparseRows.from_keys(keys, full.ravel()[keys], size), full


@pytest.mark.parametrize("speed", [0, 10**9])
def test_sums_of_rows_are_a_product(speed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.sparse_rows.DENSE_SPEED", speed)
    rows, full = table(2, 7, 0.4)
    histories = named(["abca", "", "g"], "abcdefg")
    given = np.array([0.5, 1.0, 2.0, 4.0, 3.0])
    expected = np.zeros((3, 7))
    for row, item, weight in zip(histories.rows, histories.items, given, strict=True):
        expected[row] += weight * full[item]
    np.testing.assert_allclose(rows.weighted_sums(histories, given), expected, rtol=1e-5)


def test_the_strongest_of_each_row() -> None:
    rows, full = table(3, 9, 0.6)
    kept = rows.strongest(2)
    for number in range(9):
        columns = kept.columns[kept.starts[number] : kept.starts[number + 1]]
        expected = np.argsort(-full[number], kind="stable")[: min(2, (full[number] > 0).sum())]
        assert sorted(columns.tolist()) == sorted(expected.tolist())
    assert kept.row_sums() == pytest.approx(np.sort(full, axis=1)[:, -2:].sum(axis=1), rel=1e-5)
    assert rows.column_sums() == pytest.approx(full.sum(axis=0), rel=1e-5)
