"""What a bundle is asked about an event log, and what it may know when it is asked.

===============  ================================================================================
next-basket      each purchase basket (or click, where nothing is sold), from the user's history
leave-one-out    the last event of each user
session          each later moment of a session: of events that name one, else 30 minutes without
                 an event end it
prequential      each moment of each user, in the order of time: predicted, then learned
===============  ================================================================================

A history ends where the moment of the answer begins (all of one user's events of one time), so
that nothing of the moment itself tells it; what is shared by all users is taken as of the midnight
before. Only moments of the judged days are asked about; histories reach back to the beginning.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.dataset import Baskets, EventLog, next_baskets

NEXT_BASKET, LEAVE_ONE_OUT, SESSION, PREQUENTIAL = (
    "next-basket", "leave-one-out", "session", "prequential",
)  # fmt: skip
PROTOCOLS = NEXT_BASKET, LEAVE_ONE_OUT, SESSION, PREQUENTIAL
SESSION_PAUSE_MS = 30 * 60 * 1000


@dataclass(frozen=True)
class Questions(Baskets):
    """Questions about interactions of any kind, with histories that may end before their moment."""

    firsts: NDArray[np.int64]
    """int64 [N]: rows ``firsts[n]`` to ``ends[n]`` of the log are the answers."""

    def targets(self, number: int) -> NDArray[np.int32]:
        """The distinct items that are right, as positions in ``log.item_ids``."""
        return np.unique(self.log.items[self.firsts[number] : self.ends[number]])

    def time(self, number: int) -> int:
        """When it is asked, epoch milliseconds."""
        return int(self.log.times[self.firsts[number]])

    def take(self, numbers: NDArray[np.int64]) -> "Questions":
        """Some of the questions."""
        return Questions(
            self.log,
            self.history_starts[numbers],
            self.history_ends[numbers],
            self.ends[numbers],
            self.firsts[numbers],
            known_until=None if self.known_until is None else self.known_until[numbers],
        )

    def frozen(self, period_ms: int) -> "Questions":
        """The same questions to profiles that were last brought up to date when a period began.

        Args:
            period_ms: such as an hour or a day; periods begin at multiples of it (UTC).
        """
        log = self.log
        begins = log.times[self.firsts] // period_ms * period_ms
        # Rows are sorted by (user, time): one number for both finds a user's row of a time.
        earliest = int(log.times.min(initial=0))
        span = int(log.times.max(initial=0)) - earliest + 1
        keys = log.users.astype(np.int64) * span + (log.times - earliest)
        users = log.users[self.firsts].astype(np.int64)
        ends = np.searchsorted(keys, users * span + np.maximum(begins - earliest, 0))
        return Questions(
            log,
            self.history_starts,
            np.minimum(ends, self.history_ends).astype(np.int64),
            self.ends,
            self.firsts,
            known_until=begins,
        )


def questions(
    protocol: str, log: EventLog, start: int, end: int, kind: int | None = None
) -> Baskets:
    """All questions of a protocol about ``start`` to before ``end`` (epoch ms), user after user.

    Next baskets are of ``kind``, see ``model.dataset.next_baskets``.

    Raises:
        ValueError: when the protocol is none of ``PROTOCOLS``.
    """
    if protocol == NEXT_BASKET:
        return next_baskets(log, start, end, kind)
    if protocol == LEAVE_ONE_OUT:
        return _last_events(log, start, end)
    if protocol == SESSION:
        return _moments(log, start, end, later_in_session=True)
    if protocol == PREQUENTIAL:
        return _moments(log, start, end, later_in_session=False)
    raise ValueError(f"there is no protocol {protocol!r}; one of {', '.join(PROTOCOLS)}")


def owners(asked: Baskets) -> NDArray[np.int64]:
    """int64 [N]: the user of each question, as a position in ``log.user_ids``."""
    return asked.log.users[asked.ends - 1].astype(np.int64)


def times(asked: Baskets) -> NDArray[np.int64]:
    """int64 [N]: when each is asked, epoch milliseconds."""
    return np.fromiter((asked.time(number) for number in range(len(asked))), np.int64, len(asked))


def sampled(asked: Baskets, count: int, seed: int) -> Baskets:
    """At most ``count`` of the questions, drawn without replacement, in their order."""
    if count >= len(asked):
        return asked
    drawn = np.random.default_rng(seed).choice(len(asked), count, replace=False)
    return asked.take(np.sort(drawn))


def _moments(log: EventLog, start: int, end: int, *, later_in_session: bool) -> Questions:
    firsts = log.moments
    ends = np.append(firsts[1:], len(log))
    chosen = (log.times[firsts] >= start) & (log.times[firsts] < end)
    if later_in_session:
        chosen &= _in_begun_session(log)
    firsts, ends = firsts[chosen], ends[chosen]
    return Questions(log, log.first_rows[log.users[firsts]], firsts, ends, firsts)


def _in_begun_session(log: EventLog) -> NDArray[np.bool_]:
    """bool [M]: whether a moment is in a session that an earlier one of the user began."""
    firsts = log.moments
    before = np.maximum(firsts - 1, 0)
    begun: NDArray[np.bool_] = (firsts > 0) & (log.users[before] == log.users[firsts])
    begun &= log.times[firsts] - log.times[before] < SESSION_PAUSE_MS
    if log.sessions is None:
        return begun
    # A user may be in two at once, on two devices: the moment before need not be of the same one.
    names = log.sessions[firsts].astype(np.int64)
    keys = log.users[firsts] * (names.max(initial=0) + 1) + names
    earlier = np.ones(len(firsts), bool)
    earlier[np.unique(keys, return_index=True)[1]] = False
    return np.where(names < 0, begun, earlier)


def _last_events(log: EventLog, start: int, end: int) -> Questions:
    moments = _moments(log, start, end, later_in_session=False)
    users = log.users[moments.firsts]
    last = np.append(users[1:] != users[:-1], True)[: len(users)]
    newest = moments.take(np.flatnonzero(last))
    return Questions(log, newest.history_starts, newest.history_ends, newest.ends, newest.ends - 1)
