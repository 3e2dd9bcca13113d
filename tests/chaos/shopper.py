"""A user of the made-up shop, who never does more in half an hour than a profile can hold."""

from collections import deque
from dataclasses import dataclass, field

from tests.chaos.message import Message

WINDOW_MS = 30 * 60 * 1000
"""Of co-visits, and of items chosen after a search."""
MOST_INTERACTIONS, MOST_QUERIES = 90, 8
"""Of one user within the window; a profile has room for 100 and 10."""
APART_MS = 0
"""Between the events of a visitor and of the user he turns out to be; 0 lets them meet within the
window, where no pair may be made of one event of each."""


@dataclass(eq=False)
class Shopper:
    """A user of the made-up shop."""

    user_id: str
    partition: int
    most_interactions: int = MOST_INTERACTIONS
    most_queries: int = MOST_QUERIES
    is_household: bool = False
    """Comes often and buys often: past the 280 purchases of a profile."""
    left: int = 1 << 60
    """Events until this one is never seen again."""
    searches_left: int = 1 << 60
    session: int = 0
    partner: "Shopper | None" = None
    """Visitor and known user have each other."""
    last_ms: int = 0
    """Time of the newest event."""
    interactions: deque[int] = field(default_factory=deque)
    queries: deque[int] = field(default_factory=deque)
    recent: deque[Message] = field(default_factory=lambda: deque(maxlen=5))

    def has_room(self, now: int) -> bool:
        """Whether one more interaction stays within the window's bound."""
        if self.partner is not None and now - self.partner.last_ms < APART_MS:
            return False
        return _within(self.interactions, now) < self.most_interactions

    def may_search(self, now: int) -> bool:
        """Whether one more search does."""
        return self.searches_left > 0 and _within(self.queries, now) < self.most_queries


def _within(times: deque[int], now: int) -> int:
    while times and times[0] < now - WINDOW_MS:
        times.popleft()
    return len(times)
