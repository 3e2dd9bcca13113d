"""The blend: a formula checked by hand, and a fit that finds the weights it was given."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend, fit_blend
from model.features import FIRST_ITEM, UNKNOWN


def signals(count: int, **given: object) -> Signals:
    """Signals of ``count`` candidates, zero unless given."""
    plain: dict[str, object] = {
        name: np.zeros(count, np.float32)
        for name in ("network", "repeat", "covisit", "popular", "chosen")
    }
    plain["rows"] = np.full(count, FIRST_ITEM)
    for name, values in given.items():
        plain[name] = np.asarray(values, np.int64 if name == "rows" else np.float32)
    return Signals(**plain)  # type: ignore[arg-type]


def test_the_formula() -> None:
    weights = BlendWeights(
        network=0.5, repeat=2.0, repeat_scale=0.25, covisit=3.0, covisit_scale=2.0, popular=0.1,
        popular_scale=10.0, unknown=-4.0,
    )  # fmt: skip
    found = blend(
        weights,
        signals(2, rows=[FIRST_ITEM, UNKNOWN], network=[-3, 1], repeat=[0.75, 0], covisit=[0, 2],
                popular=[90, 0]),
    )  # fmt: skip
    assert found.tolist() == pytest.approx(
        [
            0.5 * -3 + 2.0 * math.log(4) + 0.1 * math.log(10),
            0.5 * 1 + 3.0 * math.log(2) - 4.0,
        ]
    )
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["network", "repeat", "covisit", "popular"])
def test_any_part_can_stand_alone(name: str) -> None:
    nothing = {"network": 0.0, "repeat": 0.0, "covisit": 0.0, "popular": 0.0}
    alone = BlendWeights(**{**nothing, name: 1.0})
    chance = np.random.default_rng(0)
    given = {each: chance.random(50) for each in nothing}
    order = np.argsort(blend(alone, signals(50, **given)))
    assert order.tolist() == np.argsort(given[name].astype(np.float32)).tolist()


def test_a_batch_is_scored_like_its_candidates() -> None:
    chance = np.random.default_rng(1)
    given = {name: chance.random((3, 4)).astype(np.float32)
             for name in ("network", "repeat", "covisit", "popular", "chosen")}  # fmt: skip
    rows = chance.integers(1, 4, (3, 4))
    weights = BlendWeights(covisit=0.5, popular=0.2, unknown=-1.0)
    whole = blend(weights, Signals(rows=rows, **given))
    assert whole.shape == (3, 4)
    part = blend(
        weights, Signals(rows=rows[1], **{name: values[1] for name, values in given.items()})
    )
    assert np.array_equal(whole[1], part)


BASKETS, WIDTH = 600, 30


def planted(
    truth: BlendWeights, seed: int = 0
) -> tuple[Signals, NDArray[np.int64], NDArray[np.bool_]]:
    """Baskets of one item each, bought with the odds that ``truth`` gives."""
    chance = np.random.default_rng(seed)
    count = BASKETS * WIDTH
    made = signals(
        count,
        rows=chance.choice([UNKNOWN, FIRST_ITEM], count, p=[0.2, 0.8]),
        network=chance.normal(0, 2, count),
        repeat=chance.exponential(1, count) * (chance.random(count) < 0.5),
        covisit=chance.exponential(3, count),
        popular=chance.exponential(20, count),
    )
    noise = chance.gumbel(size=count)
    scores = (blend(truth, made) + noise).reshape(BASKETS, WIDTH)
    bought = np.zeros((BASKETS, WIDTH), bool)
    bought[np.arange(BASKETS), scores.argmax(axis=1)] = True
    return made, np.repeat(np.arange(BASKETS), WIDTH), bought.ravel()


def fitted(truth: BlendWeights) -> BlendWeights:
    made, basket, bought = planted(truth)

    def hit_at_3(weights: BlendWeights) -> float:
        best = np.argsort(-blend(weights, made).reshape(BASKETS, WIDTH), axis=1)[:, :3]
        return float(np.take_along_axis(bought.reshape(BASKETS, WIDTH), best, axis=1).sum())

    return fit_blend(made, basket, bought, hit_at_3, repeat_half_life_days=45.0)


def test_the_fit_finds_the_weights_that_were_planted() -> None:
    truth = BlendWeights(
        network=0.8, repeat=1.5, repeat_scale=0.4, covisit=0.6, popular=0.3, unknown=-1.0
    )
    found = fitted(truth)
    assert found.network == pytest.approx(0.8, rel=0.15)
    assert found.covisit == pytest.approx(0.6, rel=0.35)
    assert found.popular == pytest.approx(0.3, rel=0.5)
    assert found.unknown == pytest.approx(-1.0, abs=0.4)
    assert found.repeat > 0.5
    assert found.repeat_half_life_days == 45.0


def test_a_signal_that_misleads_is_left_out() -> None:
    found = fitted(BlendWeights(network=1.0, repeat=1.0, covisit=0.0, popular=-0.5))
    assert found.popular == 0.0
    assert found.network == pytest.approx(1.0, rel=0.2)
    assert found.repeat > 0.2


def test_a_network_that_misleads_is_left_out() -> None:
    found = fitted(BlendWeights(network=-0.7, repeat=1.5))
    assert found.network == 0.0
    assert found.repeat > 0.5


def test_baskets_of_which_nothing_is_a_candidate_are_passed_over() -> None:
    made, basket, bought = planted(BlendWeights(network=0.7, repeat=0.5))
    silent = bought & (basket % 3 > 0)
    found = fit_blend(made, basket, silent, lambda weights: weights.network, 60.0)
    assert found.network == pytest.approx(0.7, rel=0.2)


def test_nothing_to_learn_from_is_refused() -> None:
    made, basket, bought = planted(BlendWeights())
    with pytest.raises(ValueError, match="nothing that was bought is among the candidates"):
        fit_blend(made, basket, np.zeros_like(bought), lambda weights: 0.0, 60.0)
