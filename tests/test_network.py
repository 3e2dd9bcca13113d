"""The network and its loss: causal, blind to padding, and a softmax that a sample stands for."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.content import item_content
from model.features import FIRST_ITEM, PADDING
from model.loss import NegativeSampler, Sample, next_basket_loss
from model.network import Network, NetworkConfig

LENGTH, ROWS = 8, 40


@pytest.fixture
def network() -> Network:
    torch.manual_seed(3)
    network = Network(NetworkConfig(ROWS, length=LENGTH, dim=16, blocks=2, heads=4))
    for block in network.stack:
        torch.nn.init.normal_(block.distance_bias)  # type: ignore[arg-type]
    return network.eval()


def history(length: int = LENGTH, users: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Random items, kinds and gaps, int64 [users, length]."""
    return (
        torch.randint(FIRST_ITEM, ROWS, (users, length)),
        torch.randint(1, 6, (users, length)),
        torch.randint(1, 28, (users, length)),
    )


def padded(history: tuple[Tensor, ...], length: int) -> list[Tensor]:
    """The same history with padding before it."""
    return [
        torch.nn.functional.pad(each, (length - each.shape[1], 0), value=PADDING)
        for each in history
    ]


def test_what_comes_later_changes_nothing_before(network: Network) -> None:
    items, kinds, gaps = history()
    changed = items.clone()
    changed[:, 5] = FIRST_ITEM + (items[:, 5] - FIRST_ITEM + 1) % (ROWS - FIRST_ITEM)
    before, after = (network.encode(each, kinds, gaps) for each in (items, changed))
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all(dim=-1).any()


def test_the_newest_position_alone_is_the_last_of_all(network: Network) -> None:
    all_of_them = network.encode(*history_of(1))
    newest = network.encode(*history_of(1), newest_only=True)
    assert newest.shape == (3, 1, 16)
    assert torch.allclose(newest, all_of_them[:, -1:], atol=1e-6)


def history_of(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    return history()


def test_padding_and_place_in_the_window_mean_nothing(network: Network) -> None:
    short = history(length=4)
    alone = network.encode(*padded(short, 5))
    wide = network.encode(*padded(short, LENGTH))
    assert torch.allclose(alone[:, -4:], wide[:, -4:], atol=1e-6)


def test_a_user_without_a_history_gets_finite_scores(network: Network) -> None:
    nothing = torch.zeros((2, LENGTH), dtype=torch.int64)
    state = network.encode(nothing, nothing, nothing, newest_only=True)
    assert torch.isfinite(state).all()
    assert torch.equal(state[0], state[1])


@pytest.mark.parametrize("part", [0, 1, 2], ids=["item", "kind", "pause"])
def test_each_part_of_an_interaction_matters(network: Network, part: int) -> None:
    inputs = list(history_of(2))
    before = network.encode(*inputs, newest_only=True)
    inputs[part] = inputs[part].clone()
    inputs[part][:, -1] = inputs[part][:, -1] % 5 + 1
    inputs[part][:, -1] += inputs[part][:, -1] == history_of(2)[part][:, -1]
    after = network.encode(*inputs, newest_only=True)
    assert not torch.isclose(before, after).all(dim=-1).any()


def test_an_event_sees_no_further_than_the_band() -> None:
    torch.manual_seed(4)
    one_block = Network(NetworkConfig(ROWS, length=LENGTH, dim=16, blocks=1, heads=4, band=3))
    items, kinds, gaps = history_of(3)
    changed = items.clone()
    changed[:, 2] = FIRST_ITEM + (items[:, 2] - FIRST_ITEM + 1) % (ROWS - FIRST_ITEM)
    before, after = (one_block.eval().encode(each, kinds, gaps) for each in (items, changed))
    differs = ~torch.isclose(before, after, atol=1e-6).all(dim=-1)
    assert differs.tolist() == [[place in (2, 3, 4) for place in range(LENGTH)]] * 3


def test_a_window_that_slides_gives_the_same_state() -> None:
    torch.manual_seed(4)
    # Two blocks of a band of 3 reach four events back.
    banded = Network(NetworkConfig(ROWS, length=LENGTH, dim=16, blocks=2, heads=4, band=3)).eval()
    inputs = history_of(5)
    whole = banded.encode(*inputs)[:, -1]
    five, four = (banded.encode(*(each[:, -size:] for each in inputs))[:, -1] for size in (5, 4))
    assert torch.allclose(five, whole, atol=1e-6)
    assert not torch.allclose(four, whole, atol=1e-4)


def test_packed_segments_do_not_see_each_other(network: Network) -> None:
    first, second = history_of(6), history_of(7)
    packed = [torch.cat([one[:, :3], two[:, :4]], dim=1) for one, two in zip(first, second,
              strict=True)]  # fmt: skip
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2]] * 3)
    states = network.encode(*packed, segments=segments)
    apart = [network.encode(*(each[:, :length] for each in part))
             for part, length in ((first, 3), (second, 4))]  # fmt: skip
    assert torch.allclose(states, torch.cat(apart, dim=1), atol=1e-6)
    assert not torch.allclose(states, network.encode(*packed), atol=1e-3)


@pytest.mark.parametrize("unit", [False, True])
def test_folded_it_gives_the_same_scores_from_its_item_table_alone(unit: bool) -> None:
    torch.manual_seed(8)
    ids = [str(number) for number in range(ROWS - FIRST_ITEM)]
    content = item_content(ids, {each: f"word{int(each) % 5}" for each in ids[:-1]})
    whole = Network(NetworkConfig(ROWS, length=LENGTH, dim=16, unit_items=unit), content).eval()
    if whole.log_scale is not None:
        torch.nn.init.constant_(whole.log_scale, 0.7)
    plain = whole.folded()
    assert {name for name, _ in plain.named_parameters()} == {
        name for name, _ in Network(NetworkConfig(ROWS, length=LENGTH, dim=16)).named_parameters()
    }
    inputs = history_of(9)
    expected = whole.encode(*inputs) @ whole.item_vectors().T
    assert torch.allclose(plain.encode(*inputs) @ plain.item_table.weight.T, expected, atol=1e-4)
    assert not torch.allclose(whole.item_vectors(), whole.item_table.weight, atol=1e-2)


def test_a_task_is_folded_in_and_has_to_be_named() -> None:
    torch.manual_seed(2)
    many = Network(NetworkConfig(ROWS, length=LENGTH, dim=16, tasks=True, unit_items=True)).eval()
    for view in (many.task_gain, many.task_shift):
        assert view is not None
        torch.nn.init.normal_(view)
    states = many.encode(*history_of(1))
    expected = many.for_tasks(states, torch.full(states.shape[:2], 5))
    assert torch.allclose(many.folded(5).encode(*history_of(1)), expected, atol=1e-5)
    assert not torch.allclose(many.folded(1).encode(*history_of(1)), expected, atol=1e-2)
    with pytest.raises(ValueError, match="give a task to a network that has tasks"):
        many.folded()


def test_without_its_id_an_item_is_what_its_content_says() -> None:
    content = item_content(["a", "b", "c"], {"a": "soap", "b": "soap"})
    network = Network(NetworkConfig(FIRST_ITEM + 3, length=4, dim=8, heads=2), content)
    a, b, c = network.item_vectors(kept=torch.zeros(FIRST_ITEM + 3, dtype=torch.bool))[FIRST_ITEM:]
    assert torch.equal(a, b)
    assert a.abs().max() > 0
    assert not c.any()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dim": 10, "heads": 4}, "dim 10 is not divisible by 4 heads"),
        ({"vocabulary_size": FIRST_ITEM}, "the vocabulary is empty"),
    ],
)
def test_an_impossible_shape_is_refused(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(NetworkConfig(ROWS), **wrong)  # type: ignore[arg-type]


STATES = torch.tensor([[1.0, 0.0], [0.5, -1.0]])
TABLE = torch.arange(12, dtype=torch.float32).reshape(6, 2) / 6
BIAS = torch.tensor([0.0, 0.3, -0.2, 0.1, 0.5, -0.4])
COUNTS = torch.tensor([0, 9, 100, 4, 1, 25])
STATE_OF, ROW_OF = torch.tensor([0, 0, 1]), torch.tensor([2, 4, 5])
WEIGHT = torch.tensor([0.5, 0.5, 1.0])


def loss_with(sample: Sample) -> Tensor:
    return next_basket_loss(STATES, STATE_OF, ROW_OF, WEIGHT, TABLE, BIAS, sample)


def full_loss(bias: Tensor = BIAS) -> Tensor:
    """The plain softmax over the rows that can be a target: all but row 0."""
    scores = torch.log_softmax((STATES @ TABLE.T + bias)[:, 1:], dim=1)
    return -(scores[STATE_OF, ROW_OF - 1] * WEIGHT).sum() / WEIGHT.sum()


def test_a_sample_of_everything_is_the_full_softmax() -> None:
    sample = NegativeSampler(COUNTS, head=6, tail=0).draw()
    assert sample.rows.tolist() == [1, 2, 3, 4, 5]
    assert torch.allclose(loss_with(sample), full_loss())


def test_a_row_that_is_never_a_target_is_never_drawn() -> None:
    sampler = NegativeSampler(COUNTS, head=2, tail=50)
    assert sampler.probability[0] == 0
    assert sampler.probability[[2, 5]].tolist() == [1.0, 1.0]


def test_samples_estimate_the_sum_of_the_softmax_without_bias() -> None:
    torch.manual_seed(0)
    sampler = NegativeSampler(COUNTS, head=1, tail=2)
    assert (sampler.probability[1:] < 1).sum() == 4
    scores = STATES @ TABLE.T + BIAS
    sums = [
        torch.exp(scores[:, sample.rows] - sample.log_q).sum(dim=1)
        for sample in (sampler.draw() for _ in range(4000))
    ]
    expected = torch.exp(scores[:, 1:]).sum(dim=1)
    assert torch.allclose(torch.stack(sums).mean(dim=0), expected, rtol=0.03)


def test_a_target_outside_the_sample_still_has_a_probability_below_one() -> None:
    sample = NegativeSampler(COUNTS, head=1, tail=0).draw()
    assert sample.rows.tolist() == [2]
    own = torch.exp(STATES @ TABLE.T + BIAS)
    expected = -torch.log(
        torch.stack(
            [
                own[0, 2] / own[0, 2],
                own[0, 4] / (own[0, 2] + own[0, 4]),
                own[1, 5] / (own[1, 2] + own[1, 5]),
            ]
        )
    )
    assert torch.allclose(loss_with(sample), (expected * WEIGHT).sum() / WEIGHT.sum())


def test_the_gradient_is_that_of_the_full_softmax() -> None:
    bias = BIAS.clone().requires_grad_()
    sample = NegativeSampler(COUNTS, head=6, tail=0).draw()
    sampled = next_basket_loss(STATES, STATE_OF, ROW_OF, WEIGHT, TABLE, bias, sample)
    (ours,) = torch.autograd.grad(sampled, bias)
    (theirs,) = torch.autograd.grad(full_loss(bias), bias)
    assert torch.allclose(ours, theirs)
    assert ours.abs().max() > 0.01
