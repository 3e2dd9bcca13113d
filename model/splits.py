"""What is learned from, what settings are chosen on, and what is judged once; none leaks.

Each protocol gives a ``Split``. ``train`` never holds an answer of the validation or the test,
``final`` never one of the test, and no history holds its own answers.
"""

from dataclasses import dataclass

import numpy as np

from model.features import DAY_MS
from model.sequences import Cases, Sequences


@dataclass(frozen=True)
class Split:
    """Learn from ``train``, choose on ``validation``, learn from ``final``, judge on ``test``."""

    train: Sequences
    validation: Cases
    final: Sequences
    """What may be learned from before the test: ``train``, or more where the protocol allows."""
    test: Cases


def leave_one_out(
    sequences: Sequences, *, validation_in_history: bool, validation_in_final: bool
) -> Split:
    """The last item of each user is the test, the one before it the validation.

    Users with fewer than three items are learned from and not judged. Items of the history are
    excluded from the ranking, as in the published tables.

    Args:
        sequences: one for each user.
        validation_in_history: whether the history of a test case ends with the validation item
            (published protocols of networks) or before it.
        validation_in_final: whether counts may learn the validation items before the test; a row
            of its own in every table.

    Raises:
        ValueError: when no user has three items.
    """
    begins, ends = sequences.starts[:-1], sequences.starts[1:]
    judged = np.flatnonzero(sequences.lengths >= 3)
    if not len(judged):
        raise ValueError("no user has three items, so there is nothing to leave out and judge")
    held = np.zeros(len(sequences), np.int64)
    held[judged] = 1
    train = sequences.spans(begins, ends - 2 * held)
    begins, ends = begins[judged], ends[judged]
    return Split(
        train,
        Cases.single(
            sequences.spans(begins, ends - 2), sequences.items[ends - 2], seen_excluded=True
        ),
        sequences.spans(sequences.starts[:-1], sequences.starts[1:] - held)
        if validation_in_final
        else train,
        Cases.single(
            sequences.spans(begins, ends - 1 if validation_in_history else ends - 2),
            sequences.items[ends - 1],
            seen_excluded=True,
        ),
    )


def prefixes(sessions: Sequences) -> Cases:
    """Each session continued from each of its beginnings, longest first; seen items are ranked."""
    counts = np.maximum(sessions.lengths - 1, 0)
    session = np.repeat(np.arange(len(sessions)), counts)
    first = np.cumsum(counts) - counts
    left_out = np.arange(len(session)) - first[session] + 1
    ends = sessions.starts[1:][session] - left_out
    return Cases.single(
        sessions.spans(sessions.starts[:-1][session], ends),
        sessions.items[ends],
        seen_excluded=False,
    )


def next_in_session(sessions: Sequences, test: Cases, *, validation_share: float) -> Split:
    """The newest sessions are continued for validation; the test's prefixes come with the data.

    Args:
        sessions: in the order of time; all of them precede the test.
        test: prefixes of later sessions.
        validation_share: of the sessions, the newest.

    Raises:
        ValueError: when either part would be empty.
    """
    cut = round(len(sessions) * (1 - validation_share))
    numbers = np.arange(len(sessions))
    train, later = sessions.take(numbers[:cut]), sessions.take(numbers[cut:])
    validation = prefixes(later)
    if not len(train) or not len(validation):
        raise ValueError(
            f"{len(sessions)} sessions cut at {1 - validation_share:.0%} leave nothing to learn "
            "or to choose on; give more sessions"
        )
    return Split(train, validation, sessions, test)


def next_basket(sequences: Sequences, *, days: int, unseen_only: bool) -> Split:
    """The baskets of the last ``days``, all histories frozen where those days begin.

    The ``days`` before them are the validation, frozen at their own beginning. A basket is what
    one user bought at one moment; its answers are items that somebody had bought before the cut,
    by a user who had bought something before it.

    Args:
        sequences: one for each user, with times.
        days: full days of the test, before the day of the last event, which belongs to it too,
            and of the validation; both begin at a midnight (UTC).
        unseen_only: leaves out items that the user has bought before, of ranking and answers.

    Raises:
        ValueError: when a part would be empty, or times are not known.
    """
    end = int(sequences.known_times.max(initial=0)) + 1
    test_from = (end - 1) // DAY_MS * DAY_MS - days * DAY_MS
    validation_from = test_from - days * DAY_MS
    return Split(
        sequences.before(validation_from),
        _baskets(sequences, validation_from, test_from, unseen_only),
        sequences.before(test_from),
        _baskets(sequences, test_from, end, unseen_only),
    )


def _baskets(sequences: Sequences, start: int, end: int, unseen_only: bool) -> Cases:
    """The baskets from ``start`` to before ``end``, histories frozen at ``start``."""
    times, rows = sequences.known_times, sequences.rows
    earlier = sequences.before(start)
    known_items = earlier.counts() > 0
    fits = (times >= start) & (times < end) & known_items[sequences.items]
    fits &= (earlier.lengths > 0)[rows]
    if unseen_only:
        bought = np.unique(earlier.rows * sequences.item_count + earlier.items)
        fits &= ~np.isin(rows * sequences.item_count + sequences.items, bought)
    order = np.flatnonzero(fits)
    if not len(order):
        raise ValueError("no basket to judge: the last days hold no known item of a known user")
    order = order[np.lexsort((sequences.items[order], times[order], rows[order]))]
    users, moments, items = rows[order], times[order], sequences.items[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(users) != 0) | (np.diff(moments) != 0)
    copies = np.zeros(len(order), bool)
    copies[1:] = ~begins[1:] & (np.diff(items) == 0)
    starts = np.flatnonzero(begins[~copies])
    return Cases(
        earlier.take(users[begins]),
        items[~copies],
        np.append(starts, int((~copies).sum())),
        seen_excluded=unseen_only,
        as_of=start,
    )
