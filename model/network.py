"""The network: a small causal transformer over (item, kind, pause), with tied item embeddings.

After SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018), with pre-norm
blocks and a learned bias per head and distance in place of absolute positions (Raffel et al.,
"Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020), so
that a window that slides by one event still means the same.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.features import FIRST_ITEM, GAP_COUNT, KIND_COUNT, PADDING

NEVER = -1e9
"""Added to what must not win; finite, because -inf - -inf would turn scores into NaN."""


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network."""

    vocabulary_size: int
    """Rows of the item table, padding and unknown included."""
    length: int = 100
    dim: int = 64
    blocks: int = 2
    heads: int = 2
    dropout: float = 0.1
    """Of the summed embeddings alone: random numbers are a seventh of a step's cost on a CPU."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by {self.heads} heads")
        if self.vocabulary_size <= FIRST_ITEM:
            raise ValueError("the vocabulary is empty; train on a log with repeated items")


class Block(nn.Module):
    """Pre-norm attention and feed-forward, both with a residual path."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = 1.0 / math.sqrt(config.dim // config.heads)
        self.norm_attention = nn.LayerNorm(config.dim)
        self.query = nn.Linear(config.dim, config.dim)
        self.key_value = nn.Linear(config.dim, 2 * config.dim)
        self.merge = nn.Linear(config.dim, config.dim)
        self.norm_feed = nn.LayerNorm(config.dim)
        self.widen = nn.Linear(config.dim, 2 * config.dim)
        self.narrow = nn.Linear(2 * config.dim, config.dim)
        self.distance_bias = nn.Parameter(torch.zeros(config.heads, config.length))
        distance = torch.arange(config.length)[:, None] - torch.arange(config.length)[None, :]
        self.register_buffer("distance", distance.clamp(min=0), persistent=False)
        self.register_buffer("future", (distance < 0).float() * NEVER, persistent=False)
        self.distance: Tensor
        self.future: Tensor

    def forward(self, hidden: Tensor, blocked: Tensor, newest_only: bool) -> Tensor:
        """Args: hidden [B, L, D]; blocked [B, 1, 1, L], ``NEVER`` at padding.

        Returns [B, L, D], or [B, 1, D] when only the newest position is asked for.
        """
        normed = self.norm_attention(hidden)
        if newest_only:
            hidden = hidden[:, -1:]
        query = self._split(self.query(normed[:, -1:] if newest_only else normed))
        key, value = (self._split(part) for part in self.key_value(normed).chunk(2, dim=-1))
        length = normed.shape[1]
        bias = self.distance_bias[:, self.distance[:length, :length]]
        bias = bias + self.future[:length, :length]
        if newest_only:
            bias = bias[:, -1:]
        weights = query @ key.transpose(-1, -2) * self.scale + bias + blocked
        mixed = torch.softmax(weights, dim=-1) @ value
        mixed = mixed.transpose(1, 2).flatten(2)
        hidden = hidden + self.merge(mixed)
        fed: Tensor = self.narrow(functional.relu(self.widen(self.norm_feed(hidden))))
        return hidden + fed

    def _split(self, states: Tensor) -> Tensor:
        """[B, L, D] to [B, heads, L, D / heads]."""
        users, length, dim = states.shape
        return states.reshape(users, length, self.heads, dim // self.heads).transpose(1, 2)


class Network(nn.Module):
    """Scores every item of the vocabulary for what a user does next."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.item_table = nn.Embedding(config.vocabulary_size, config.dim, padding_idx=PADDING)
        self.kind_table = nn.Embedding(KIND_COUNT, config.dim, padding_idx=PADDING)
        self.gap_table = nn.Embedding(GAP_COUNT, config.dim, padding_idx=PADDING)
        self.item_bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self.stack = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.item_table, self.kind_table, self.gap_table):
            nn.init.normal_(table.weight, std=config.dim**-0.5)
            nn.init.zeros_(table.weight[PADDING])

    def encode(
        self, items: Tensor, kinds: Tensor, gaps: Tensor, *, newest_only: bool = False
    ) -> Tensor:
        """User states after each position.

        Args:
            items, kinds, gaps: int64 [B, L] as ``model.features.featurize`` gives them; L may be
                shorter than the configured length.
            newest_only: compute the last block for the newest position alone.

        Returns:
            float32 [B, L, D], or [B, 1, D].
        """
        hidden = self.item_table(items) + self.kind_table(kinds) + self.gap_table(gaps)
        hidden = self.dropout(hidden)
        blocked = (items == PADDING)[:, None, None, :].to(hidden.dtype) * NEVER
        for depth, block in enumerate(self.stack):
            last = depth == len(self.stack) - 1
            hidden = block(hidden, blocked, newest_only and last)
        normed: Tensor = self.norm(hidden)
        return normed
