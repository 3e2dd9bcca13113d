"""The network: a small causal transformer over (item, kind, pause), with tied item embeddings.

After SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018), with pre-norm
blocks and a learned bias per head and distance in place of absolute positions (Raffel et al.,
"Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020). An
event sees itself and the ``band - 1`` before it: a window that slides by one event still means
the same, and a state needs no more than the keys and values of so many events.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.content import ItemContent
from model.content_tower import ContentTower
from model.features import FIRST_ITEM, GAP_COUNT, KIND_COUNT, PADDING, QUERY_ROWS
from model.who import WHO_ROWS

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
    """Of the summed embeddings."""
    block_dropout: float = 0.0
    """Of what each half of a block adds; random numbers are a seventh of a step's cost on a CPU."""
    feed: int = 2
    """Width of the feed-forward part, in dims."""
    band: int | None = None
    """Events that an event sees, itself included; None: ``length``."""
    spread: float | None = None
    """Standard deviation of the embeddings at the start; None: dim ** -0.5. What is rarely seen
    stays close to where it started, so a small one keeps it out of the lists."""
    unit_items: bool = False
    """Item vectors of length 1 and a learned temperature: popularity cannot hide in their norm
    (Gupta et al., "NISER: Normalized Item and Session Representations to Handle Popularity Bias",
    2019)."""

    tasks: bool = False
    """Whether answers of each kind have a view of the state of their own: what one looks at next
    is not what one buys next."""
    queries: bool = False
    """Whether it reads the words of the query that is open after each interaction."""
    who: bool = False
    """Whether it reads who users are: attributes, country and device."""
    content_bias: bool = False
    """Whether content says how much an item is asked for, so that one of which nothing else is
    known can be scored."""

    @property
    def reach(self) -> int:
        """The band as a number."""
        return self.length if self.band is None else self.band

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
        self.widen = nn.Linear(config.dim, config.feed * config.dim)
        self.narrow = nn.Linear(config.feed * config.dim, config.dim)
        self.dropout = nn.Dropout(config.block_dropout)
        self.distance_bias = nn.Parameter(torch.zeros(config.heads, config.reach))
        distance = torch.arange(config.length)[:, None] - torch.arange(config.length)[None, :]
        beyond = (distance < 0) | (distance >= config.reach)
        self.register_buffer("distance", distance.clamp(0, config.reach - 1), persistent=False)
        self.register_buffer("beyond", beyond.float() * NEVER, persistent=False)
        self.distance: Tensor
        self.beyond: Tensor

    def forward(self, hidden: Tensor, blocked: Tensor, newest_only: bool) -> Tensor:
        """Args: hidden [B, L, D]; blocked [B, 1, 1 or L, L], ``NEVER`` at what is not to be seen.

        Returns [B, L, D], or [B, 1, D] when only the newest position is asked for.
        """
        normed = self.norm_attention(hidden)
        if newest_only:
            hidden = hidden[:, -1:]
        query = self._split(self.query(normed[:, -1:] if newest_only else normed))
        key, value = (self._split(part) for part in self.key_value(normed).chunk(2, dim=-1))
        length = normed.shape[1]
        bias = self.distance_bias[:, self.distance[:length, :length]]
        bias = bias + self.beyond[:length, :length]
        if newest_only:
            bias, blocked = bias[:, -1:], blocked[:, :, -1:]
        weights = query @ key.transpose(-1, -2) * self.scale + bias + blocked
        mixed = torch.softmax(weights, dim=-1) @ value
        mixed = mixed.transpose(1, 2).flatten(2)
        hidden = hidden + self.dropout(self.merge(mixed))
        fed: Tensor = self.narrow(functional.relu(self.widen(self.norm_feed(hidden))))
        added: Tensor = self.dropout(fed)
        return hidden + added

    def _split(self, states: Tensor) -> Tensor:
        """[B, L, D] to [B, heads, L, D / heads]."""
        users, length, dim = states.shape
        return states.reshape(users, length, self.heads, dim // self.heads).transpose(1, 2)


class Network(nn.Module):
    """Scores every item of the vocabulary for what a user does next.

    Args:
        config: the shape.
        content: what is known of the items beside their ids, or None.

    Raises:
        ValueError: the content is of another catalogue.
    """

    def __init__(self, config: NetworkConfig, content: ItemContent | None = None) -> None:
        super().__init__()
        if content is not None and len(content) != config.vocabulary_size - FIRST_ITEM:
            raise ValueError(
                f"content of {len(content)} items for {config.vocabulary_size - FIRST_ITEM}; "
                "read it for the same catalogue"
            )
        self.config = config
        self.item_table = nn.Embedding(config.vocabulary_size, config.dim, padding_idx=PADDING)
        self.kind_table = nn.Embedding(KIND_COUNT, config.dim, padding_idx=PADDING)
        self.gap_table = nn.Embedding(GAP_COUNT, config.dim, padding_idx=PADDING)
        self.item_bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self.stack = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.item_table, self.kind_table, self.gap_table):
            spread: float = config.spread or config.dim**-0.5
            nn.init.normal_(table.weight, std=spread)
            nn.init.zeros_(table.weight[PADDING])
        self.tower: ContentTower | None = None
        if content is not None:
            self.tower = ContentTower(content, config.dim, biased=config.content_bias)
        self.cold_bias = nn.Parameter(torch.zeros(())) if config.content_bias else None
        self.task_gain = nn.Parameter(torch.ones(KIND_COUNT, config.dim)) if config.tasks else None
        self.task_shift = (
            nn.Parameter(torch.zeros(KIND_COUNT, config.dim)) if config.tasks else None
        )
        self.log_scale = nn.Parameter(torch.zeros(())) if config.unit_items else None
        self.query_table: nn.Embedding | None = None
        if config.queries:
            self.query_table = nn.Embedding(QUERY_ROWS, config.dim, padding_idx=PADDING)
            # A word that was never asked for says nothing.
            nn.init.zeros_(self.query_table.weight)
        self.who_table: nn.Embedding | None = None
        if config.who:
            self.who_table = nn.Embedding(WHO_ROWS, config.dim, padding_idx=PADDING)
            # What nobody was told to be says nothing.
            nn.init.zeros_(self.who_table.weight)

    def item_vectors(self, rows: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
        """What stands for rows of the vocabulary, as input and as output.

        Args:
            rows: int64 [U]; None: all.
            kept: bool [U], False where the id is not to be looked at, so that content alone
                speaks; None keeps all.

        Returns:
            float32 [U, D].
        """
        vectors: Tensor = self.item_table.weight if rows is None else self.item_table(rows)
        if kept is not None:
            vectors = vectors * kept[:, None]
        if self.tower is not None:
            if rows is None:
                rows = torch.arange(self.config.vocabulary_size)
            vectors = vectors + self.tower(rows)[:, : self.config.dim]
        return functional.normalize(vectors, dim=1) if self.config.unit_items else vectors

    def item_biases(self, rows: Tensor, kept: Tensor | None = None) -> Tensor:
        """What speaks for rows of the vocabulary whoever asks, float32 [U]; args of those above."""
        own: Tensor = self.item_bias[rows]
        if kept is None or self.tower is None or self.cold_bias is None:
            return own
        return torch.where(kept, own, self.tower(rows)[:, -1] + self.cold_bias)

    def encode(
        self,
        items: Tensor,
        kinds: Tensor,
        gaps: Tensor,
        *,
        newest_only: bool = False,
        segments: Tensor | None = None,
        embedded: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor:
        """User states after each position.

        Args:
            items, kinds, gaps: int64 [B, L] as ``model.features.featurize`` gives them; L may be
                shorter than the configured length.
            newest_only: compute the last block for the newest position alone.
            segments: int64 [B, L], where a row packs several histories: a position sees those of
                its own number only. None: one history a row, after padding.
            embedded: float32 [B, L, D], the items' vectors where they are at hand already.
            queries: int64 [B, L, W] as ``model.features.query_windows`` gives them, for a network
                that reads them and no other.

        Returns:
            float32 [B, L, D], or [B, 1, D].

        Raises:
            ValueError: queries are missing, or come to a network that does not read them.
        """
        if (queries is None) != (self.query_table is None):
            raise ValueError("give queries to a network that reads them, and to no other")
        if embedded is None:
            embedded = functional.embedding(items, self.item_vectors(), PADDING)
        hidden = embedded + self.kind_table(kinds) + self.gap_table(gaps)
        if queries is not None and self.query_table is not None:
            hidden = hidden + self.query_table(queries).sum(dim=2)
        hidden = self.dropout(hidden)
        if segments is None:
            blocked = (items == PADDING)[:, None, None, :].to(hidden.dtype) * NEVER
        else:
            foreign = segments[:, :, None] != segments[:, None, :]
            blocked = foreign[:, None].to(hidden.dtype) * NEVER
        for depth, block in enumerate(self.stack):
            last = depth == len(self.stack) - 1
            hidden = block(hidden, blocked, newest_only and last)
        normed: Tensor = self.norm(hidden)
        return normed if self.log_scale is None else normed * self.log_scale.exp()

    def of_users(self, states: Tensor, who: Tensor | None) -> Tensor:
        """The states of users of whom that is known, which says the same after any history.

        Args:
            states: float32 [P, D].
            who: int64 [P, T] as ``model.who.who_rows`` gives them, for a network that reads
                them and no other.

        Raises:
            ValueError: they are missing, or come to a network that does not read them.
        """
        if (who is None) != (self.who_table is None):
            raise ValueError("say who users are to a network that reads it, and to no other")
        if who is None or self.who_table is None:
            return states
        known: Tensor = self.who_table(who)
        return states + known.sum(dim=1)

    def for_tasks(self, states: Tensor, kinds: Tensor) -> Tensor:
        """What the states say of answers of some kinds: float32 [P, D], int64 [P] to [P, D]."""
        if self.task_gain is None or self.task_shift is None:
            return states
        return states * self.task_gain[kinds] + self.task_shift[kinds]

    @torch.no_grad()
    def folded(self, task: int | None = None) -> "Network":
        """A network that gives the same states and scores from its item table alone.

        Content, normalisation, temperature and the view of one task are worked into the weights.

        Args:
            task: kind of the answers that are asked for, where the network has tasks.

        Raises:
            ValueError: when the network has tasks and none is given, or the other way round.
        """
        if self.config.tasks != (task is not None):
            raise ValueError("give a task to a network that has tasks, and to no other")
        plain = Network(replace(self.config, unit_items=False, tasks=False, content_bias=False))
        own = self.state_dict()
        state = {name: own[name].clone() for name in plain.state_dict()}
        state["item_table.weight"] = self.item_vectors().clone()
        if self.log_scale is not None:
            for name in ("norm.weight", "norm.bias"):
                state[name] *= self.log_scale.exp()
        if self.task_gain is not None and self.task_shift is not None:
            state["norm.weight"] *= self.task_gain[task]
            state["norm.bias"] = state["norm.bias"] * self.task_gain[task] + self.task_shift[task]
            if self.who_table is not None:
                state["who_table.weight"] *= self.task_gain[task]
        plain.load_state_dict(state)
        return plain.train(self.training)
