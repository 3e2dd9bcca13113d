"""The losses of positions against the plain formulas, values and gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.loss import NegativeSampler, Sample, gbce_loss, softmax_loss

ROWS, DIM, POSITIONS = 60, 8, 300


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, table, bias (leaves) and answers."""
    torch.manual_seed(5)
    leaves = (torch.randn(POSITIONS, DIM), torch.randn(ROWS, DIM), torch.randn(ROWS))
    answers = torch.randint(2, ROWS, (POSITIONS,))
    return *(leaf.requires_grad_() for leaf in leaves), answers  # type: ignore[return-value]


def plain(
    states: Tensor, table: Tensor, bias: Tensor, answers: Tensor, sample: Sample | None
) -> Tensor:
    """The same without chunks, by torch's own functions."""
    scores = states @ table.T + bias
    if sample is None:
        return functional.cross_entropy(scores, answers)
    own = scores.gather(1, answers[:, None])[:, 0]
    total = (scores[:, sample.rows] - sample.log_q).logsumexp(dim=1)
    return (torch.where(sample.drawn[answers], total, torch.logaddexp(total, own)) - own).mean()


@pytest.mark.parametrize("sampled", [False, True], ids=["full", "sampled"])
@pytest.mark.parametrize(
    ("half", "tolerance"), [(False, 1e-4), (True, 0.03)], ids=["float32", "bfloat16"]
)
def test_loss_and_gradients_are_those_of_the_plain_formula(
    parts: tuple[Tensor, Tensor, Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    sampled: bool,
    half: bool,
    tolerance: float,
) -> None:
    # Several chunks, the last one short.
    monkeypatch.setattr("model.loss.CHUNK_CELLS", 128 * 128)
    states, table, bias, answers = parts
    sample = NegativeSampler(torch.arange(ROWS), 10, 15).draw() if sampled else None
    if sample is not None:
        assert 0 < sample.drawn[answers].sum() < POSITIONS
    ours = softmax_loss(states, answers, table, bias, sample, half=half)
    theirs = plain(states, table, bias, answers, sample)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=tolerance)
    for mine, other in zip(
        torch.autograd.grad(ours, parts[:3]), torch.autograd.grad(theirs, parts[:3]), strict=True
    ):
        assert float((mine - other).abs().max() / other.abs().max()) < tolerance


def test_smoothing_is_torch_s(parts: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    states, table, bias, answers = parts
    ours = softmax_loss(states, answers, table, bias, smoothing=0.2)
    theirs = functional.cross_entropy(states @ table.T + bias, answers, label_smoothing=0.2)
    assert torch.allclose(ours, theirs, rtol=1e-5)


def test_training_that_has_diverged_says_what_to_do() -> None:
    states, table = torch.full((2, 1), 1e3), torch.ones(3, 1)
    with pytest.raises(FloatingPointError, match="give a lower learning rate"):
        softmax_loss(states, torch.tensor([1, 2]), table, torch.zeros(3))


def test_gbce_raises_the_answer_s_sigmoid_to_its_power() -> None:
    torch.manual_seed(1)
    states, table, bias = torch.randn(3, 4), torch.randn(9, 4), torch.randn(9)
    answers, negatives = torch.tensor([2, 5, 7]), torch.tensor([5, 8])
    share = 2 / 8
    power = share * (0.75 * (1 - 1 / share) + 1 / share)
    scores = states @ table.T + bias
    expected = []
    for row, answer in zip(scores, answers.tolist(), strict=True):
        loss = -torch.log(torch.sigmoid(row[answer]) ** power)
        for wrong in negatives.tolist():
            loss = loss - torch.log(1 - torch.sigmoid(row[wrong])) * (wrong != answer)
        expected.append(loss)
    ours = gbce_loss(states, answers, table, bias, negatives, share)
    assert torch.allclose(ours, torch.stack(expected).mean(), rtol=1e-5)
