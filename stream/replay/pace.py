"""How fast past events leave: so many a second, at a multiple of their own time, or at once."""

import time
from collections.abc import Iterator, Sequence

from serving.intake import Decoded

PORTION = 500
"""Events sent between two looks at pace and lag."""
PORTIONS_PER_SECOND = 20
"""With a pace, so that events arrive evenly and not in a burst each second."""
MOST_LATE_S = 0.2
"""Who was held up for longer does not make up for it: a pace is a promise to those behind."""


class Pace:
    """When the next events may leave.

    Args:
        rate: at most so many events a second.
        speed: at most so many seconds of event time a second; an event that is older than one
            before it leaves at once.
        most: a portion holds no more events than that.
    """

    def __init__(
        self, *, rate: float | None = None, speed: float | None = None, most: int = PORTION
    ) -> None:
        self._rate, self._speed = rate, speed
        by_rate = PORTION if rate is None else max(int(rate / PORTIONS_PER_SECOND), 1)
        self.portion = max(min(PORTION, by_rate, most), 1)
        self._started = 0.0
        self._first = 0

    def portions(self, events: Sequence[Decoded]) -> Iterator[Sequence[Decoded]]:
        """Events that may leave together, each portion once its time has come."""
        at = 0
        while at < len(events):
            end = at + self._length(events[at : at + self.portion])
            self._wait(events[at].event.time, end - at)
            yield events[at:end]
            at = end

    def told(self) -> str:
        """For a person."""
        if self._rate is not None:
            return f"at most {self._rate:,g} events a second"
        if self._speed is not None:
            return f"at {self._speed:g} times the speed of event time"
        return "as fast as it goes"

    def _length(self, events: Sequence[Decoded]) -> int:
        if self._speed is None:
            return len(events)
        until = events[0].event.time + 1000 * self._speed / PORTIONS_PER_SECOND
        for at, each in enumerate(events):
            if each.event.time > until:
                return at
        return len(events)

    def _wait(self, moment: int, count: int) -> None:
        now = time.monotonic()
        if not self._started:
            self._started, self._first, self._sent = now, moment, 0
        if self._rate is not None:
            due = self._started + self._sent / self._rate
        elif self._speed is not None:
            due = self._started + (moment - self._first) / 1000 / self._speed
        else:
            return
        self._sent += count
        if due > now:
            time.sleep(due - now)
        elif now - due > MOST_LATE_S:
            self._started += now - due
