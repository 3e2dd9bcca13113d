"""The network and its loss: causal, blind to padding, and a softmax that a sample stands for."""

import pytest
import torch
from torch import Tensor

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


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dim": 10, "heads": 4}, "dim 10 is not divisible by 4 heads"),
        ({"vocabulary_size": FIRST_ITEM}, "the vocabulary is empty"),
    ],
)
def test_an_impossible_shape_is_refused(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        NetworkConfig(**{"vocabulary_size": ROWS, **wrong})


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
