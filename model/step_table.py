"""The items that one step of a training deals with, some of which are seen without their ids."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.features import FIRST_ITEM
from model.network import Network


class StepTable(NamedTuple):
    """Of a large catalogue, a small part."""

    rows: Tensor
    """int64 [U], of the vocabulary."""
    place: Tensor
    """int64 [V]: where in ``rows`` each row is that is in it."""
    vectors: Tensor
    """float32 [U, D]."""
    biases: Tensor
    """float32 [U]."""

    @classmethod
    def of(
        cls,
        network: Network,
        items: Tensor,
        answers: Tensor,
        sampled: Tensor | None,
        id_dropout: float,
    ) -> "StepTable":
        """The table of a step.

        Args:
            network: whose items they are.
            items: int64, of any shape: rows of the histories.
            answers: int64 [T].
            sampled: int64 [S], rows that the answers compete with; None for the whole vocabulary.
            id_dropout: share of the items whose id is not looked at in this step, so that content
                learns to speak alone (Volkovs et al., "DropoutNet: Addressing Cold Start in
                Recommender Systems", 2017).
        """
        size = network.config.vocabulary_size
        if sampled is None:
            rows = torch.arange(size)
        else:
            rows = torch.cat([items.flatten(), answers, sampled]).unique()  # type: ignore[no-untyped-call]
        place = torch.zeros(size, dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        kept = None
        if id_dropout:
            # Padding and unknown have no content to speak for them.
            kept = (torch.rand(len(rows)) >= id_dropout) | (rows < FIRST_ITEM)
        return cls(rows, place, network.item_vectors(rows, kept), network.item_biases(rows, kept))
