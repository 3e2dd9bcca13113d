"""Softmax over a large vocabulary from a sample of it, corrected for how the sample was drawn.

The most popular rows are always in the sample; of the others each row i is drawn with its own
known probability q_i. A drawn row counts 1 / q_i times in the softmax's sum, that is, log q_i is
taken off its score (logQ correction; Bengio and Senécal, "Adaptive Importance Sampling to
Accelerate Training of a Neural Probabilistic Language Model", 2008), which keeps the sum unbiased
(Horvitz and Thompson, 1952). With ``tail`` no smaller than the vocabulary it is the full softmax.
"""

from typing import NamedTuple

import torch
from torch import Tensor


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
