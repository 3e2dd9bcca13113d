"""Whether a worker can go on, told from any thread, even while its event loop hangs."""

import threading
import time
from collections.abc import Callable


class Liveness:
    """What the event loop says of itself, and since when it has said nothing.

    A worker that has not come to its first beat yet, or is closed, is alive: whoever starts and
    stops it knows how long that may take.

    Args:
        patience_s: how long the event loop may be silent.
        clock: seconds.
    """

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._lock = threading.Lock()
        self._beat_at: float | None = None
        self._stalled: tuple[str, ...] = ()

    def beat(self) -> None:
        """The event loop runs."""
        with self._lock:
            self._beat_at = self._clock()

    def tell(self, stalled: tuple[str, ...]) -> None:
        """What has stalled, as seen by the event loop (``stream.stalls``)."""
        with self._lock:
            self._stalled = stalled

    def close(self) -> None:
        """The worker stops."""
        with self._lock:
            self._beat_at, self._stalled = None, ()

    @property
    def causes(self) -> tuple[str, ...]:
        """Why only a new start helps, a sentence each; empty while the worker is alive."""
        with self._lock:
            if self._beat_at is None:
                return ()
            silent_s = self._clock() - self._beat_at
            if silent_s >= self._patience_s:
                return (f"the event loop has not run for {silent_s:.0f} s", *self._stalled)
            return self._stalled
