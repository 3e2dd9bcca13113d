"""What an epoch reads instead of the sequences as they are: fewer, thinned out or backwards."""

import numpy as np
from numpy.typing import NDArray

from model.sequences import Sequences
from model.transformer_settings import TransformerSettings


def augmented(
    train: Sequences, settings: TransformerSettings, chance: np.random.Generator
) -> Sequences:
    """What an epoch reads: sequences and events left out, and some sequences backwards."""
    found = train
    if settings.recency:
        age = np.linspace(settings.recency, 0, len(found))
        found = found.take(np.flatnonzero(chance.random(len(found)) < np.exp2(-age)))
    if settings.event_dropout:
        kept = chance.random(len(found.items)) >= settings.event_dropout
        found = _only(found, kept)
    if settings.reversal:
        found = _reversed(found, chance.random(len(found)) < settings.reversal)
    return found


def _only(found: Sequences, kept: NDArray[np.bool_]) -> Sequences:
    """The events that are kept; as many sequences."""
    starts = np.zeros(len(found) + 1, np.int64)
    np.cumsum(np.bincount(found.rows[kept], minlength=len(found)), out=starts[1:])
    return Sequences(
        found.items[kept], starts, found.item_ids,
        None if found.times is None else found.times[kept],
        None if found.kinds is None else found.kinds[kept],
    )  # fmt: skip


def _reversed(found: Sequences, chosen: NDArray[np.bool_]) -> Sequences:
    """The chosen sequences read from their end; times stay where they are."""
    here = np.arange(len(found.items))
    mirror = found.starts[:-1][found.rows] + found.ages
    source = np.where(chosen[found.rows], mirror, here)
    return Sequences(
        found.items[source], found.starts, found.item_ids, found.times,
        None if found.kinds is None else found.kinds[source],
    )  # fmt: skip
