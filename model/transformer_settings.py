"""Every choice of a transformer over sequences, as one value."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TransformerSettings:
    """Every choice of a training run; the defaults are a fair start on some ten thousand items."""

    length: int = 50
    """Events the network sees."""
    dim: int = 64
    blocks: int = 2
    heads: int = 2
    feed: int = 4
    dropout: float = 0.3
    block_dropout: float = 0.1
    spread: float = 0.02
    """Of the embeddings, to start from."""
    counted_start: bool = True
    """Whether item vectors start from what stands together, see ``model.item_start``."""
    unit_items: bool = False
    """See ``model.network.NetworkConfig``."""
    neighbours: int = 0
    """Of each item, so many of those that it meets most are in its content too, see
    ``model.neighbour_content``."""
    loss: Literal["softmax", "sampled", "gbce"] = "softmax"
    negatives: int = 2_048
    """Rows drawn for each step of a sampled softmax or gBCE; half of those of a softmax are the
    most popular ones."""
    smoothing: float = 0.0
    epochs: int = 30
    positions: int = 2_048
    """Predictions of a step, about."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    event_dropout: float = 0.0
    """Share of events that an epoch leaves out."""
    reversal: float = 0.0
    """Share of sequences that an epoch reads backwards."""
    id_dropout: float = 0.0
    """Share of items that a step knows by their content only."""
    recency: float = 0.0
    """Doublings of the chance that an epoch reads a sequence, from the oldest to the newest."""
    tasks: tuple[int, ...] = ()
    """Kinds of ``model.events.INTERACTION_KINDS`` that answers are told apart by; the first is the
    one that scores are about. Empty: all answers are alike."""
    half: bool = False
    """Scores in bfloat16 while training: half the time where the processor has AMX."""
