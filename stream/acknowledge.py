"""Which offset of one partition may be committed: a FIFO of deliveries, each with a done mark.

    delivered  [100, 140)  [140, 150)  [150, 190)
    done            yes         no         yes      ->  140 may be committed, and nothing later

What is committed is the end of the *done prefix*, so work may end in any order and no offset is
ever committed past work that has not ended. Pure: no Kafka, no clock, no thread.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto


class State(Enum):
    """Where a delivery stands."""

    OPEN = auto()
    DONE = auto()
    VOID = auto()  # rewound, or its partition is no longer ours: whoever holds it is too late


class Token:
    """One delivery: the records from offset `start` up to, not including, offset `end`."""

    __slots__ = ("end", "size", "start", "state", "taken")

    def __init__(self, start: int, end: int, size: int) -> None:
        self.start = start
        self.end = end
        self.size = size  # in the unit of the caller, who limits what waits
        self.state = State.OPEN
        self.taken = False  # True once a handler has it; until then it waits in a buffer

    @property
    def open(self) -> bool:
        """True while this delivery can still be marked done or be rewound."""
        return self.state is State.OPEN

    def __repr__(self) -> str:
        return f"<Token [{self.start}, {self.end}) {self.state.name}>"


class AckQueue:
    """The deliveries of one partition in offset order, from the first that is not done."""

    def __init__(self) -> None:
        self._tokens: deque[Token] = deque()
        self._done_to: int | None = None
        self._next = 0
        self._waiting = 0

    @property
    def committable(self) -> int | None:
        """End of the done prefix: the offset to commit; None before the first one is done."""
        return self._done_to

    @property
    def first_undone(self) -> int | None:
        """Offset of the first record that is not done, or not delivered; None before the first."""
        return self._tokens[0].start if self._tokens else self._done_to

    @property
    def waiting(self) -> int:
        """Size of what is delivered and neither done nor rewound."""
        return self._waiting

    def deliver(self, start: int, end: int, size: int = 1) -> Token:
        """Append the delivery of offsets [start, end); raises ValueError where it breaks order.

        Offsets may be left out between two deliveries: compaction and transactions do that.
        """
        if not self._next <= start < end:
            raise ValueError(
                f"Offsets [{start}, {end}) were delivered where {self._next} or later is due: a"
                " fetch that a rewind had overtaken got through. This is a bug: please report it."
            )
        token = Token(start, end, size)
        self._tokens.append(token)
        self._next = end
        self._waiting += size
        return token

    def done(self, token: Token) -> bool:
        """Mark `token` done; False where it was done, rewound or dropped before."""
        if not token.open:
            return False
        token.state = State.DONE
        self._waiting -= token.size
        while self._tokens and self._tokens[0].state is State.DONE:
            self._done_to = self._tokens.popleft().end
        return True

    def rewind(self, token: Token) -> bool:
        """Void `token` and all that was delivered after it, done or not.

        Delivery has to go on at `token.start`. False where the token was done, rewound or dropped.
        """
        if not token.open:
            return False
        while token.state is State.OPEN:
            self._void(self._tokens.pop())
        self._next = token.start
        return True

    def drop(self) -> None:
        """Void everything: the partition is no longer ours."""
        while self._tokens:
            self._void(self._tokens.pop())
        self._done_to, self._next = None, 0

    def oldest_taken(self) -> Token | None:
        """The first delivery that a handler has and has not marked done."""
        return next((token for token in self._tokens if token.taken and token.open), None)

    def _void(self, token: Token) -> None:
        if token.open:
            self._waiting -= token.size
        token.state = State.VOID
