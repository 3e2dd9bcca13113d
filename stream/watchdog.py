"""Tells of a worker that has stalled, and ends it where somebody stands ready to start it again."""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from serving import metrics
from stream.liveness import Liveness
from stream.worker_process import STALLED

logger = logging.getLogger(__name__)

CONFIRMATIONS = 3
"""Looks in a row that see a stall before anything is done: a process that was frozen as a whole
sees one for a moment when it wakes."""


class Watchdog:
    """Looks at a worker's liveness from a thread of its own, from its making until ``stop``.

    Args:
        liveness: that is looked at.
        look_s: how often.
        ends: whether a stalled worker is ended; else it is only told of.
        end: how.
    """

    def __init__(
        self,
        liveness: Liveness,
        look_s: float,
        *,
        ends: bool,
        end: Callable[[int], None] = os._exit,  # nothing else is sure to end a thread that hangs
    ) -> None:
        self._liveness, self._look_s, self._ends, self._end = liveness, look_s, ends, end
        self._seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stop.wait(self._look_s):
            now = time.monotonic()
            was_frozen = now - looked_at > 2 * self._look_s + 1
            looked_at = now
            self._look(was_frozen)

    def _look(self, was_frozen: bool) -> None:
        causes = () if was_frozen else self._liveness.causes
        metrics.STALLED.set(bool(causes))
        if not causes:
            if self._seen >= CONFIRMATIONS:
                logger.warning("the worker goes on")
            self._seen = 0
            return
        self._seen += 1
        if self._seen != CONFIRMATIONS:
            return
        told = "; ".join(causes)
        if not self._ends:
            logger.error("the worker has stalled and has to be started again: %s", told)
            _dump()
            return
        logger.error("the worker has stalled and ends, to be started again: %s", told)
        _dump()
        self._end(STALLED)


def _dump() -> None:
    """Where each thread stands, for whoever wants to know why."""
    faulthandler.dump_traceback(sys.__stderr__ or 2)
