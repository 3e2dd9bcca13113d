"""The state after a user's newest event as it is exported: ``Network.encode``'s, in fewer steps.

A run of one user is bound by the number of operations, one of many by their arithmetic. So what
does not depend on the user is worked out here, once: the bias of every distance, which a general
graph looks up at every run, and the scale of the queries. The linear layers see one long row of
events, where ONNX Runtime adds their bias in the product. And the last block, of which only the
newest event is asked for, makes neither keys nor values of the others: ``q . (W x)`` is
``(W' q) . x``, and a mean of ``W x`` is ``W`` times the mean of ``x`` (as DeepSeek-AI absorb
projections in "DeepSeek-V2", 2024). A key's own bias adds the same to every weight and drops out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.features import PADDING
from model.network import NEVER, Block, Network


class NewestState(nn.Module):
    """What ``network.encode(..., newest_only=True)[:, 0]`` gives, but for the rounding.

    Args:
        network: folded (``Network.folded``), so that its item table is all that it needs.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        *others, last = (_distances(block) for block in network.stack)
        self.others = nn.ModuleList(_EveryEvent(*each) for each in others)
        self.last = _NewestEvent(*last)

    def forward(
        self, items: Tensor, kinds: Tensor, gaps: Tensor, queries: Tensor | None = None
    ) -> Tensor:
        """Args as ``Network.encode`` has them, all of one L. Returns float32 [B, D]."""
        network = self.network
        length, dim = items.shape[1], network.config.dim
        hidden = functional.embedding(items, network.item_vectors(), PADDING)
        hidden = hidden + network.kind_table(kinds) + network.gap_table(gaps)
        if queries is not None and network.query_table is not None:
            hidden = hidden + network.query_table(queries).sum(dim=2)
        blocked = (items == PADDING)[:, None, None, :].to(hidden.dtype) * NEVER
        hidden = hidden.reshape(-1, dim)
        for block in self.others:
            hidden = block(hidden, blocked, length)
        state: Tensor = network.norm(self.last(hidden, blocked[:, 0], length))
        return state


class _EveryEvent(nn.Module):
    """A block whose every event is asked for."""

    def __init__(self, block: Block, bias: Tensor) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("bias", bias)
        self.bias: Tensor
        dim = block.query.in_features
        self.query = _linear(block.query.weight * block.scale, block.query.bias * block.scale)
        self.key = _linear(block.key_value.weight[:dim], None)
        self.value = _linear(block.key_value.weight[dim:], block.key_value.bias[dim:])

    def forward(self, hidden: Tensor, blocked: Tensor, length: int) -> Tensor:
        """Args: hidden [B * L, D]; blocked [B, 1, 1, L]. Returns [B * L, D]."""
        block = self.block
        normed = block.norm_attention(hidden)
        shape = (-1, length, block.heads, normed.shape[1] // block.heads)
        query = self.query(normed).reshape(shape).transpose(1, 2)
        key = self.key(normed).reshape(shape).permute(0, 2, 3, 1)
        value = self.value(normed).reshape(shape).transpose(1, 2)
        weights = query @ key + (self.bias[:, :length, :length] + blocked)
        mixed = torch.softmax(weights, dim=-1) @ value
        return _fed(block, hidden + block.merge(mixed.transpose(1, 2).reshape(hidden.shape)))


class _NewestEvent(nn.Module):
    """The last block, of which the newest event is asked for."""

    def __init__(self, block: Block, bias: Tensor) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("bias", bias[:, -1])
        self.bias: Tensor
        dim = block.query.in_features
        by_head = (block.heads, dim // block.heads, -1)
        key = block.key_value.weight[:dim].reshape(by_head)
        value = block.key_value.weight[dim:].reshape(by_head)
        query = block.query.weight.reshape(by_head) * block.scale
        query_bias = block.query.bias.reshape(by_head[:2]) * block.scale
        merge = block.merge.weight.reshape(dim, *by_head[:2])
        self.query = _linear(
            torch.einsum("hdk,hdq->hkq", key, query).flatten(0, 1),
            torch.einsum("hdk,hd->hk", key, query_bias).flatten(),
        )
        self.merge = _linear(
            torch.einsum("ohd,hdv->ohv", merge, value).flatten(1),
            block.merge.weight @ block.key_value.bias[dim:] + block.merge.bias,
        )

    def forward(self, hidden: Tensor, blocked: Tensor, length: int) -> Tensor:
        """Args: hidden [B * L, D]; blocked [B, 1, L]. Returns [B, D]."""
        block, dim = self.block, hidden.shape[1]
        normed = block.norm_attention(hidden).reshape(-1, length, dim)
        query = self.query(normed[:, -1]).reshape(-1, block.heads, dim)
        weights = query @ normed.transpose(1, 2) + (self.bias[:, -length:] + blocked)
        mixed = (torch.softmax(weights, dim=-1) @ normed).reshape(-1, block.heads * dim)
        return _fed(block, hidden.reshape(-1, length, dim)[:, -1] + self.merge(mixed))


def _fed(block: Block, hidden: Tensor) -> Tensor:
    fed: Tensor = block.narrow(functional.relu(block.widen(block.norm_feed(hidden))))
    return hidden + fed


@torch.no_grad()
def _distances(block: nn.Module) -> tuple[Block, Tensor]:
    """A block and what it adds for each two events, [heads, L, L]."""
    assert isinstance(block, Block)
    return block, block.distance_bias[:, block.distance] + block.beyond


@torch.no_grad()
def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made
