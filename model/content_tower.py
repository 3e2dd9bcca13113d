"""Content to vectors: each token has a learned vector, and an item's is their weighted sum."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.content import ItemContent
from model.features import FIRST_ITEM


class ContentTower(nn.Module):
    """Vectors of rows of the vocabulary; padding, unknown and bare items get zeros.

    Args:
        content: of the items, in the order of the vocabulary.
        dim: D.
        biased: whether a token speaks for its items beside their vector: the last column then is
            a bias, which starts at zero.
    """

    def __init__(self, content: ItemContent, dim: int, *, biased: bool = False) -> None:
        super().__init__()
        self.token_table = nn.Embedding(content.token_count, dim + biased)
        nn.init.normal_(self.token_table.weight, std=dim**-0.5)
        if biased:
            nn.init.zeros_(self.token_table.weight[:, -1])
        self.token_weights = content.token_weights
        ends = np.concatenate([np.zeros(FIRST_ITEM, np.int64), content.starts[1:]])
        starts = np.concatenate([np.zeros(FIRST_ITEM, np.int64), content.starts[:-1]])
        for name, values in (
            ("tokens", content.tokens),
            ("weights", content.weights),
            ("starts", starts),
            ("sizes", ends - starts),
        ):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.tokens: Tensor
        self.weights: Tensor
        self.starts: Tensor
        self.sizes: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """float32 [U, D], or [U, D + 1] with a bias, of some rows of the vocabulary, int64 [U]."""
        sizes = self.sizes[rows]
        offsets = sizes.cumsum(0) - sizes
        places = torch.repeat_interleave(self.starts[rows] - offsets, sizes)
        places += torch.arange(len(places))
        return functional.embedding_bag(
            self.tokens[places],
            self.token_table.weight,
            offsets,
            mode="sum",
            per_sample_weights=self.weights[places],
        )
