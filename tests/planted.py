"""Logs with a pattern that is known because it was planted, so that the right answer is too."""

import numpy as np

from model.dataset import PURCHASE, EventLog
from model.features import DAY_MS

FIRST_DAY = 17_000
ITEMS = 12


def log_of(rows: list[tuple[str, str, int]], kind: int = PURCHASE) -> EventLog:
    """A log of (user, item, epoch ms) rows."""
    users, items = ({name: code for code, name in enumerate(dict.fromkeys(column))}
                    for column in ([row[0] for row in rows], [row[1] for row in rows]))  # fmt: skip
    return EventLog.from_columns(
        np.array([users[row[0]] for row in rows], np.int32),
        np.array([items[row[1]] for row in rows], np.int32),
        np.full(len(rows), kind, np.uint8),
        np.array([row[2] for row in rows], np.int64),
        list(users),
        list(items),
    )


def at(day: float) -> int:
    """Epoch milliseconds of a moment ``day`` days into a planted log."""
    return int((FIRST_DAY + day) * DAY_MS)


def succession(users: int = 30, days: int = 40) -> EventLog:
    """Everyone buys one item a day: item n today, item n + 1 tomorrow, round and round.

    Nothing is popular and nothing is bought again soon: only the order tells what comes next.
    """
    return log_of(
        [
            (f"user-{user}", f"item-{(user + day) % ITEMS:02}", at(day + 0.4 + user / 1000))
            for user in range(users)
            for day in range(days)
        ]
    )
