"""Parts of the answers that a mean over all of them hides: cold items, new users, heavy users."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.ranks import Ranks

COLD_EVENTS = 5
"""An item with fewer events in training is cold."""
NEW_EVENTS = 3
"""A user with fewer events of history is new."""
HEAVY_SHARE = 0.1
"""Of the cases: those with the longest histories, and those as long as the shortest of them."""


class Slice(NamedTuple):
    """Some of the answers of some of the cases."""

    cases: NDArray[np.int64]
    """int64 [S], ascending: those of which an answer is in the slice."""
    ranks: Ranks
    """Of the S cases, as if the other answers were not asked for."""


def cut(ranks: Ranks, answers: NDArray[np.bool_]) -> Slice:
    """The part of ``ranks`` that holds some answers, bool [T]; cases without any drop out."""
    owners = np.repeat(np.arange(len(ranks)), ranks.answers)[answers]
    cases, starts = np.unique(owners, return_index=True)
    return Slice(cases, Ranks(ranks.ranks[answers], np.append(starts, len(owners))))


def slice_masks(
    targets: NDArray[np.int32],
    target_starts: NDArray[np.int64],
    popularity: NDArray[np.int64],
    history_lengths: NDArray[np.int64],
) -> dict[str, NDArray[np.bool_]]:
    """Name -> which answers are in the slice, bool [T].

    Args:
        targets: int32 [T], the answers of all cases end to end.
        target_starts: int64 [B + 1].
        popularity: int64 [items], events in training.
        history_lengths: int64 [B], events before each case.
    """
    answers = np.diff(target_starts)
    return {
        "cold items": popularity[targets] < COLD_EVENTS,
        "new users": np.repeat(history_lengths < NEW_EVENTS, answers),
        "heavy users": np.repeat(history_lengths >= heavy_from(history_lengths), answers),
    }


def heavy_from(history_lengths: NDArray[np.int64]) -> int:
    """The length of history from which on a case is one of a heavy user; at least ``NEW_EVENTS``.

    Raises:
        ValueError: when there is no case.
    """
    if not len(history_lengths):
        raise ValueError("there is no case, so no user is heavy")
    longest = np.quantile(history_lengths, 1 - HEAVY_SHARE, method="higher")
    return max(int(longest), NEW_EVENTS)
