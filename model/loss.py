"""Losses over a large vocabulary: full softmax, softmax from a sample, and gBCE.

A sample is corrected for how it was drawn.

The most popular rows are always in the sample; of the others each row i is drawn with its own
known probability q_i. A drawn row counts 1 / q_i times in the softmax's sum, that is, log q_i is
taken off its score (logQ correction; Bengio and Senécal, "Adaptive Importance Sampling to
Accelerate Training of a Neural Probabilistic Language Model", 2008), which keeps the sum over the
other rows unbiased (Horvitz and Thompson, 1952). The answer itself is always in the sum, 1 / q_i
times where it was drawn, so it weighs 2 - q_i times on average: a rare answer is pushed less than
the full softmax would. With ``tail`` no smaller than the vocabulary it is the full softmax.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

DIVERGED = "training has diverged; give a lower learning rate"


class Sample(NamedTuple):
    """Rows of the vocabulary that stand for all of it."""

    rows: Tensor
    """int64 [S]."""
    log_q: Tensor
    """float32 [S]: log of each row's probability of being here."""
    drawn: Tensor
    """bool [V]: whether a row is here."""


class NegativeSampler:
    """Draws samples of the vocabulary with torch's own random state.

    Args:
        counts: [V], how often each row is a target; rows of count 0 are never drawn.
        head: how many of the most frequent rows are always drawn.
        tail: how many of the others are drawn on average, in proportion to sqrt(count).
    """

    def __init__(self, counts: Tensor, head: int, tail: int) -> None:
        frequent = counts.argsort(descending=True)[:head]
        share = counts.float().sqrt()
        share[frequent] = 0
        probability = share * (tail / share.sum().clamp(min=1e-9))
        probability[frequent] = 1
        self.probability = probability.clamp(max=1) * (counts > 0)

    def draw(self) -> Sample:
        """An independent draw of every row."""
        drawn = torch.rand(len(self.probability)) < self.probability
        rows = drawn.nonzero()[:, 0]
        return Sample(rows, self.probability[rows].log(), drawn)


def next_basket_loss(
    states: Tensor,
    target_state: Tensor,
    target_row: Tensor,
    weight: Tensor,
    item_table: Tensor,
    item_bias: Tensor,
    sample: Sample,
) -> Tensor:
    """Weighted mean of -log p(target | state) over all (state, target) pairs.

    Args:
        states: float32 [P, D], one per moment that is followed by a basket.
        target_state, target_row: int64 [T], pairs of a state and a row that was bought.
        weight: float32 [T].
        item_table, item_bias: float32 [V, D] and [V], the tied output layer.
        sample: stands for the vocabulary.

    Returns:
        A scalar.
    """
    scores = states @ item_table[sample.rows].T + (item_bias[sample.rows] - sample.log_q)
    total = torch.logsumexp(scores, dim=1)[target_state]
    own = (states[target_state] * item_table[target_row]).sum(dim=1) + item_bias[target_row]
    # A target that was not drawn joins the sum once; one that was is in it already.
    total = torch.where(sample.drawn[target_row], total, torch.logaddexp(total, own))
    return ((total - own) * weight).sum() / weight.sum()


CHUNK_CELLS = 3_000_000
"""Scores held at once: more than a CPU's caches would be fetched from memory again and again."""
BLOCK = 128
"""Rows and columns are filled up to a multiple of it: a product of a new shape is compiled first,
which takes longer than the product."""


class _CrossEntropy(Function):
    """Mean of log(sum of exp(states @ table.T + bias) + own terms) - own, and its gradients.

    The scores are never kept: each chunk is turned into its share of the gradients on the way
    forward. Three products and one exp are all that touches them; what depends on a row or a
    column alone is worked into the factors.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        own: Tensor,
        joins: Tensor,
        half: bool,
    ) -> Tensor:
        number = torch.bfloat16 if half else torch.float32
        count, missing = len(states), -len(table) % BLOCK
        factor = functional.pad(bias.exp(), (0, missing))
        wide = functional.pad(table, (0, 0, 0, missing))
        columns, weighted = wide.to(number), (wide * factor[:, None]).to(number)
        factors = factor.to(number)
        rows = max(1, CHUNK_CELLS // len(wide) // BLOCK) * BLOCK
        filled = functional.pad(states, (0, 0, 0, -count % BLOCK)).to(number)
        extra = functional.pad(joins * own.exp(), (0, -count % BLOCK))
        buffer = torch.empty(min(rows, len(filled)), len(wide), dtype=number)
        to_states, totals = [], []
        to_wide = torch.zeros(len(wide), states.shape[1] + 1)
        for start in range(0, len(filled), rows):
            part = filled[start : start + rows]
            powers = torch.mm(part, columns.T, out=buffer[: len(part)]).exp_()
            total = torch.mv(powers, factors).float() + extra[start : start + rows]
            share = (1 / total)[:, None]
            to_states.append((powers @ weighted).float() * share)
            share[max(count - start, 0) :] = 0
            to_wide += (powers.T @ torch.cat([part * share, share], dim=1).to(number)).float()
            totals.append(total)
        total = torch.cat(totals)[:count]
        logarithm = total.log()
        # Of 0 too: then not a power of the scores was left.
        if not bool(torch.isfinite(logarithm).all()):
            raise FloatingPointError(DIVERGED)
        to_wide *= factor[:, None] / count
        ctx.save_for_backward(
            torch.cat(to_states)[:count] / count,
            to_wide[: len(table), :-1],
            to_wide[: len(table), -1],
            (joins * own.exp() / total - 1) / count,
        )
        return (logarithm - own).mean()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return *(each * outer[0] for each in ctx.saved_tensors), None, None


def softmax_loss(
    states: Tensor,
    answers: Tensor,
    item_table: Tensor,
    item_bias: Tensor,
    sample: Sample | None = None,
    *,
    smoothing: float = 0.0,
    half: bool = False,
) -> Tensor:
    """Mean of -log p(answer | state) over the whole vocabulary, or a sample that stands for it.

    Args:
        states: float32 [P, D].
        answers: int64 [P], rows of the vocabulary.
        item_table, item_bias: float32 [V, D] and [V], the tied output layer.
        sample: None for the full softmax.
        smoothing: share of the answer's weight that is spread over the rows of the softmax.
        half: products in bfloat16, where the processor has them.

    Returns:
        A scalar.
    """
    table, bias = item_table, item_bias
    own = (states * item_table[answers]).sum(dim=1) + item_bias[answers]
    if sample is not None:
        table, bias = item_table[sample.rows], item_bias[sample.rows] - sample.log_q
    joins = torch.zeros(len(own)) if sample is None else (~sample.drawn[answers]).float()
    # An answer that was not drawn joins the sum once; one that was is in it already.
    loss: Tensor = _CrossEntropy.apply(states, table, bias, own, joins, half)  # type: ignore[no-untyped-call]
    if smoothing:
        # What the mean of all scores would lose more than the answer's.
        spread = (own - states @ table.mean(dim=0) - bias.mean()).mean()
        loss = loss + smoothing * spread
    return loss


def gbce_loss(
    states: Tensor,
    answers: Tensor,
    item_table: Tensor,
    item_bias: Tensor,
    negatives: Tensor,
    share: float,
    calibration: float = 0.75,
) -> Tensor:
    """Generalised binary cross-entropy with shared negatives.

    Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained
    with Negative Sampling", 2023: the answer's sigmoid is raised to a power below 1 that makes up
    for how few of the wrong items were drawn.

    Args:
        states: float32 [P, D].
        answers: int64 [P].
        item_table, item_bias: float32 [V, D] and [V].
        negatives: int64 [K], rows drawn evenly; where one is the answer it does not count.
        share: K over the number of wrong items.
        calibration: 0 is plain binary cross-entropy, 1 calibrates scores fully.

    Returns:
        A scalar.
    """
    power = share * (calibration * (1 - 1 / share) + 1 / share)
    own = (states * item_table[answers]).sum(dim=1) + item_bias[answers]
    others = states @ item_table[negatives].T + item_bias[negatives]
    wrong = functional.softplus(others) * (negatives != answers[:, None])
    return (power * functional.softplus(-own) + wrong.sum(dim=1)).mean()
