"""The transformer as a method: a planted order is found, runs are repeatable and go on."""

import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model.augmentation import augmented
from model.checkpoint import CheckpointError
from model.choice import Budget
from model.content import item_content
from model.ranks import Ranks, judge
from model.sequences import Cases, Sequences
from model.splits import leave_one_out
from model.transformer import Transformer
from model.transformer_settings import TransformerSettings
from tests.sequence_shop import ITEMS, circle, letters, named, timed

SETTINGS = TransformerSettings(
    length=8, dim=16, blocks=1, epochs=12, positions=64, learning_rate=0.02, dropout=0.0,
    block_dropout=0.0, spread=0.25,
)  # fmt: skip
BUDGET = Budget(math.inf)
"""Epochs alone count, or two runs would have other learning rates."""


def ndcg(ranks: Ranks) -> float:
    return float(ranks.ndcg(10).mean())


def transformer(**changes: object) -> Transformer:
    chosen = {"settings": SETTINGS, "budget": BUDGET, "looks": 3, "seed": 1} | changes
    return Transformer(ndcg, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "sampled", "negatives": 6},
        {"loss": "gbce", "negatives": 6, "epochs": 30},
        {"unit_items": True, "smoothing": 0.05},
        {"half": True, "block_dropout": 0.05},
    ],
    ids=["softmax", "sampled", "gbce", "unit", "half"],
)
def test_what_follows_what_is_learned(changes: dict[str, object]) -> None:
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=False)
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    method = transformer(settings=settings)
    method.fit(split.train, split.validation)
    assert judge(method, split.test).hit(1).mean() > 0.95
    [curve] = method.curves
    assert len(curve) == 3
    assert curve[-1].epoch == settings.epochs
    assert max(look.value for look in curve) > 0.95


def test_times_and_kinds_are_read() -> None:
    # After a short pause comes b, after a long one c.
    users = [[("a", 0.0), ("a", 0.001 if u % 2 else 9.0), ("bc"[u % 2 == 0], 10.0)]
             for u in range(40)]  # fmt: skip
    train = timed(users)
    method = transformer(settings=replace(SETTINGS, epochs=40))
    method.fit(train)
    scores = method.scores(train.spans(train.starts[:2], train.starts[1:3] - 1))
    assert scores.argmax(axis=1).tolist() == [2, 1]


def test_content_alone_ranks_an_item_that_nobody_has_touched() -> None:
    lists = [list("ab" if user % 2 else "cd") * 3 for user in range(40)]
    ids = "abcdxy"
    train = named(["".join(each) for each in lists], ids)
    content = item_content(
        list(ids), {}, {"a": ["tea"], "b": ["cup"], "c": ["nail"], "d": ["hammer"],
                        "x": ["cup"], "y": ["hammer"]},
    )  # fmt: skip
    method = transformer(
        settings=replace(SETTINGS, id_dropout=0.5, epochs=30, spread=0.02), content=content
    )
    method.fit(train)
    x, y = ids.index("x"), ids.index("y")
    after_tea, after_nail = method.scores(named(["aba", "cdc"], ids))
    assert after_tea[x] > after_tea[y]
    assert after_nail[y] > after_nail[x]


def test_members_are_averaged_and_the_same_seed_gives_the_same_scores() -> None:
    train = circle(users=10)
    settings = replace(SETTINGS, epochs=2)
    one, two, both = (
        transformer(settings=settings, seed=1),
        transformer(settings=settings, seed=2),
        transformer(settings=settings, seed=1, members=2),
    )
    for method in (one, two, both):
        method.fit(train)
    some = train.take(np.arange(4))
    expected = (one.scores(some) + two.scores(some)) / 2
    expected = expected - np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(both.scores(some), expected, atol=1e-4)
    assert not np.allclose(one.scores(some), two.scores(some), atol=1e-2)
    np.testing.assert_allclose(np.exp(one.scores(some)).sum(axis=1), 1.0, rtol=1e-4)


def test_what_is_looked_at_next_is_not_what_is_bought_next() -> None:
    # After a, half the users look at b and half buy c; kinds 1 and 5.
    train = named(["ab", "ac"] * 30)
    kinds = np.tile(np.array([1, 1, 1, 5], np.uint8), 30)
    train = Sequences(train.items, train.starts, train.item_ids, kinds=kinds)
    method = transformer(settings=replace(SETTINGS, tasks=(5, 1), epochs=30))
    method.fit(train)
    history = Sequences(
        np.zeros(1, np.int32), np.array([0, 1]), train.item_ids, kinds=np.ones(1, np.uint8)
    )
    assert method.scores(history).argmax() == 2
    looked = Cases.single(history, np.array([1], np.int32), seen_excluded=False)
    assert method.for_task(1, looked).scores(history).argmax() == 1
    with pytest.raises(ValueError, match=r"kind 3 is none of the tasks learned, \(5, 1\)"):
        method.for_task(3, looked)


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=False)
    settings = replace(SETTINGS, epochs=4, dropout=0.2)
    path = tmp_path / "run.pt"
    told: list[str] = []

    def power_cut(sentence: str, share: float) -> None:
        told.append(sentence)
        if len(told) == 3:
            raise KeyboardInterrupt

    def made(**changes: object) -> Transformer:
        return transformer(settings=settings, members=2, looks=2, checkpoint=path, **changes)

    whole = transformer(settings=settings, members=2, looks=2)
    whole.fit(split.train, split.validation)
    with pytest.raises(KeyboardInterrupt):
        made(progress=power_cut).fit(split.train, split.validation)
    assert "network 2 of 2, epoch 2" in told[-1]
    with pytest.raises(CheckpointError, match="another log, seed or settings"):
        made(seed=2).fit(split.train, split.validation)
    again = made(progress=lambda sentence, share: told.append(sentence))
    again.fit(split.train, split.validation)
    assert len(told) == 4
    assert not path.exists()
    some = split.test.histories.take(np.arange(5))
    np.testing.assert_allclose(again.scores(some), whole.scores(some), atol=1e-4)


def test_a_refit_begins_at_the_fit_and_can_be_undone() -> None:
    before = circle()
    turned = Sequences(before.items[::-1].copy(), before.starts, before.item_ids)
    method = transformer(refit_share=1.0)
    method.fit(before)
    some = before.take(np.arange(3)).newest(1)
    first = method.scores(some)
    wanted = (some.items[some.starts[1:] - 1] - 1) % ITEMS
    method.refit(turned)
    second = method.scores(some)
    assert second.argmax(axis=1).tolist() == wanted.tolist()
    method.refit(before)
    np.testing.assert_array_equal(method.scores(some), first)
    # From the fit, not from the refit before it.
    method.refit(turned)
    np.testing.assert_allclose(method.scores(some), second, atol=1e-5)


def test_before_it_has_learned_it_says_so() -> None:
    with pytest.raises(ValueError, match="call fit first"):
        transformer().scores(circle())


def test_an_epoch_leaves_events_out_turns_sequences_and_prefers_the_newest() -> None:
    found = named(["abcd"] * 2000)
    chance = np.random.default_rng(0)

    def read(**changes: float) -> list[str]:
        return letters(augmented(found, replace(SETTINGS, **changes), chance))  # type: ignore[arg-type]

    assert read() == ["abcd"] * 2000
    turned = read(reversal=0.5)
    assert set(turned) == {"abcd", "dcba"}
    assert 900 < turned.count("dcba") < 1100
    thinned = read(event_dropout=0.25)
    assert len(thinned) == 2000
    assert 5700 < sum(map(len, thinned)) < 6300
    marked = named(["a"] * 1000 + ["b"] * 1000, "ab")
    kept = letters(augmented(marked, replace(SETTINGS, recency=2.0), chance))
    assert 0 < kept.count("a") < kept.count("b") < 1000


def test_sequences_in_which_nothing_follows_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing follows anything"):
        transformer().fit(named(["a", "b", ""]))


def test_a_run_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # A second passes whenever somebody looks at the clock, on a machine of any pace.
    clock = SimpleNamespace(monotonic=map(float, count()).__next__)
    for room in ("course", "sequence_training"):
        monkeypatch.setattr(f"model.{room}.time", clock)
    method = transformer(settings=replace(SETTINGS, epochs=10**9), budget=Budget(200.0))
    split = leave_one_out(circle(), validation_in_history=True, validation_in_final=False)
    method.fit(split.train, split.validation)
    assert 1 <= method.curves[0][-1].epoch < 200
