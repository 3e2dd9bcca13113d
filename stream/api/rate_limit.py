"""How often a caller may ask: a token bucket for each, of this process."""

import time
from collections.abc import Callable


class RateLimit:
    """Buckets that hold a second's requests and fill evenly.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        """Requests left, and when that was, by the name of the caller: as many as there are keys.
        """

    def wait_s(self, caller: str, rate: float) -> float:
        """0 where the caller may ask now, which is one request less; else seconds until it may.

        Args:
            caller: its name.
            rate: requests a second; below one a second the bucket still holds one.
        """
        now, most = self._clock(), max(rate, 1.0)
        left, then = self._buckets.get(caller, (most, now))
        left = min(most, left + (now - then) * rate)
        if left < 1:
            self._buckets[caller] = left, now
            return (1 - left) / rate
        self._buckets[caller] = left - 1, now
        return 0.0
