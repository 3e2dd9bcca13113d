"""Tasks: each kind of answer weighs its own share, and is asked for by itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.dataset import PURCHASE, EventLog, Split, next_baskets, split_by_time
from model.features import FIRST_ITEM, PADDING, Vocabulary
from model.network import Network
from model.tasks import kind_of, served_kind, task_weights
from model.trainer import TrainConfig, Trainer
from model.windows import TrainingWindows
from tests.planted import CLICK, ITEMS, at, log_of_kinds, succession, window_shopping

pytestmark = pytest.mark.usefixtures("one_thread")

CART = 2
CONFIG = TrainConfig(
    length=10, stride=10, dim=16, blocks=1, batch=8, epochs=6, learning_rate=0.02, min_count=1
)


def shop() -> EventLog:
    """One user: 9 clicks, then a moment of a purchase of two items, a click and a cart."""
    rows = [("ann", f"seen-{n}", at(n), CLICK) for n in range(9)]
    last = [("milk", PURCHASE), ("eggs", PURCHASE), ("wine", CLICK), ("salt", CART)]
    return log_of_kinds([*rows, *(("ann", item, at(20), kind) for item, kind in last)])


def test_a_task_is_a_kind_by_name() -> None:
    assert (kind_of("click"), kind_of("cart"), kind_of("purchase")) == (CLICK, CART, PURCHASE)
    with pytest.raises(ValueError, match="there is no task 'view'; one of click, cart, favorite"):
        kind_of("view")


def test_what_is_served_is_in_the_log() -> None:
    assert served_kind(shop(), None) is None
    assert served_kind(shop(), "cart") == CART
    with pytest.raises(ValueError, match="no rating, only click, cart, purchase; name one"):
        served_kind(shop(), "rating")


def test_a_frequent_kind_weighs_less_and_a_rare_one_no_more_than_the_served() -> None:
    # Ten moments with a click, one with a cart, one with a purchase.
    assert task_weights(shop(), PURCHASE) == pytest.approx({CLICK: 10**-0.5, CART: 1, PURCHASE: 1})
    assert task_weights(shop(), CLICK) == {CLICK: 1, CART: 1, PURCHASE: 1}


def test_weights_that_are_asked_for_hold_and_zero_leaves_a_kind_out() -> None:
    asked = (("click", 0.25), ("cart", 0.0), ("rating", 9.0))
    assert task_weights(shop(), PURCHASE, asked) == {CLICK: 0.25, PURCHASE: 1}
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(
            ValueError, match=f"click weighs {weight:g}; give a number of 0 or more"
        ):
            task_weights(shop(), PURCHASE, [("click", weight)])
    with pytest.raises(ValueError, match="task purchase is the one that is served; it must weigh"):
        task_weights(shop(), PURCHASE, [("purchase", 0.0)])
    with pytest.raises(ValueError, match="there is no task 'view'"):
        task_weights(shop(), PURCHASE, [("view", 1.0)])


def test_a_log_of_one_kind_has_one_task() -> None:
    assert task_weights(succession(users=2, days=3), PURCHASE) == {PURCHASE: 1.0}


def test_a_moment_of_several_kinds_gives_a_basket_of_each() -> None:
    log = shop()
    vocabulary = Vocabulary(log.item_ids)
    windows = TrainingWindows(log, vocabulary, 20, 20, {CLICK: 0.5, CART: 2.0, PURCHASE: 1.0})
    found: dict[tuple[str, int], dict[str, float]] = {}
    for pending in windows.batches(4, np.random.default_rng(0)):
        batch = pending.make()
        for state, row, weight in zip(
            batch.target_state, batch.target_row, batch.weight, strict=True
        ):
            newest = batch.features.items.ravel()[batch.positions[state]]
            key = vocabulary.ids[newest - FIRST_ITEM], int(batch.kinds[state])
            found.setdefault(key, {})[vocabulary.ids[row - FIRST_ITEM]] = float(weight)
    assert found == {
        **{(f"seen-{n}", CLICK): {f"seen-{n + 1}": 0.5} for n in range(8)},
        ("seen-8", CLICK): {"wine": 0.5},
        ("seen-8", CART): {"salt": 2.0},
        ("seen-8", PURCHASE): {"milk": 0.5, "eggs": 0.5},
    }
    counts = dict(zip(vocabulary.ids, windows.target_counts()[FIRST_ITEM:], strict=True))
    assert counts == {f"seen-{n}": 0.5 for n in range(9)} | {
        "wine": 0.5, "salt": 2.0, "milk": 1.0, "eggs": 1.0,
    }  # fmt: skip


def test_a_kind_that_is_no_task_is_history_and_no_answer() -> None:
    log = shop()
    windows = TrainingWindows(log, Vocabulary(log.item_ids), 20, 20, {PURCHASE: 1.0})
    made = [pending.make() for pending in windows.batches(4, np.random.default_rng(0))]
    (batch,) = (each for each in made if len(each.kinds))
    assert batch.kinds.tolist() == [PURCHASE]
    window, place = divmod(int(batch.positions[0]), 20)
    assert (batch.features.items[window, : place + 1] != PADDING).sum() == 9


def test_baskets_are_of_the_kind_that_is_asked_for() -> None:
    log = shop()
    clicks = next_baskets(log, at(8), at(21), CLICK)
    assert [clicks.target_kind, clicks.take(np.array([1])).target_kind] == [CLICK, CLICK]
    assert [[log.item_ids[item] for item in clicks.targets(n)] for n in range(2)] == [
        ["seen-8"], ["wine"],
    ]  # fmt: skip
    assert len(next_baskets(log, at(0), at(21))) == 1


def trained(task: str | None, **changes: object) -> tuple[Trainer, Split]:
    log = window_shopping()
    split = split_by_time(log, validation_days=4, test_days=3, kind=served_kind(log, task))
    config = replace(CONFIG, task=task, **changes)  # type: ignore[arg-type]
    trainer = Trainer(split, Vocabulary(log.item_ids), config, seed=1)
    for epoch in range(config.epochs):
        trainer.run_epoch(epoch, lambda text, share: None)
    return trainer, split


def follower(network: Network, vocabulary: Vocabulary, step: int) -> float:
    """Share of items after which the best of all is the item ``step`` places on."""
    rows = torch.from_numpy(vocabulary.index_of(Vocabulary(
        [f"item-{n:02}" for n in range(ITEMS)]).hashes))  # fmt: skip
    history = torch.stack([rows.roll(1), rows], dim=1)
    kinds, gaps = torch.full_like(history, CLICK), torch.full_like(history, 18)
    with torch.inference_mode():
        state = network.encode(history, kinds, gaps, newest_only=True)[:, 0]
        best = (state @ network.item_table.weight.T + network.item_bias)[:, FIRST_ITEM:].argmax(1)
    return float((best + FIRST_ITEM == rows.roll(-step)).float().mean())


def test_what_one_looks_at_next_is_not_what_one_buys_next() -> None:
    trainer, split = trained(None)
    assert trainer.task == PURCHASE
    assert set(trainer.tasks) == {CLICK, PURCHASE}
    assert trainer.validation_ndcg() > 0.9
    vocabulary = Vocabulary(split.train.item_ids)
    # One network knows both, and gives the one that it is asked for.
    assert follower(trainer.served(), vocabulary, 5) > 0.9
    assert follower(trainer.network.folded(CLICK), vocabulary, 1) > 0.9


def test_the_task_that_is_named_is_served_and_judged() -> None:
    trainer, split = trained("click", epochs=4)
    assert split.validation.target_kind == trainer.task == CLICK
    assert trainer.validation_ndcg() > 0.9


def test_with_the_others_left_out_only_the_served_kind_is_learned() -> None:
    trainer, _ = trained(None, task_weights=(("click", 0.0),), epochs=1)
    assert (trainer.tasks, trainer.task) == ({PURCHASE: 1.0}, None)
    assert trainer.served() is trainer.network
    assert not trainer.network.config.tasks
