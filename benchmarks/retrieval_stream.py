"""Searches of an index beside a stream of changes, and how soon a change is found."""

import threading
import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_vectors import STATE_LENGTH
from model.features import FIRST_ITEM
from model.item_index import ItemIndex
from model.nearest import Nearest

LIKENESS = 0.16
"""Length of a new item's vector, as a share of a state's: it is a long one and points where the
state does, so that hardly another comes before it."""
LENGTH = STATE_LENGTH**2
"""Product of a state with itself, but for the bias."""
RESERVE = 10_000
"""Rows for new items."""


class _Sent(NamedTuple):
    row: int
    user: int
    at: float


class _Changes(threading.Thread):
    """Puts one item in after the other: a new one, another vector of an old one, in turn."""

    def __init__(self, index: ItemIndex, states: NDArray[np.float32], per_second: float) -> None:
        super().__init__()
        self._index, self._states, self._pause = index, states, 1 / per_second
        self.sent: deque[_Sent] = deque()
        self.put_ms: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Until ``ended``; what the pace asks for is made up for where the thread was late."""
        chance = np.random.default_rng(5)
        known, begun = len(self._index.vectors), time.perf_counter()
        number = 0
        while not self.ended.wait(max(0.0, begun + number * self._pause - time.perf_counter())):
            user = int(chance.integers(len(self._states)))
            row = (
                known + number % RESERVE if number % 2 else int(chance.integers(FIRST_ITEM, known))
            )
            vector = LIKENESS * self._states[user][None]
            vector[0, -1] = 0
            start = time.perf_counter()
            self._index.upsert(np.array([row]), vector)
            self.put_ms.append(1000 * (time.perf_counter() - start))
            self.sent.append(_Sent(row, user, start))
            number += 1


def stream(
    index: ItemIndex, states: NDArray[np.float32], top: int, seconds: float, per_second: float
) -> dict[str, Any]:
    """Search without a pause for some time without changes, then as long with them.

    Between two searches for users, one is made for the user whom the newest unseen change is for:
    it says how long after its ``upsert`` began the item is found.

    Returns:
        ``slowest_vs_p99``: the slowest search beside the changes, over the 99th percentile of those
        without; by the clock and by the searching thread's processor time. ``quiet_slowest_vs_p99``
        is the same of those without: what the machine does to a search by itself.
    """
    bias = np.zeros(len(index.vectors) + RESERVE, np.float32)

    def search(user: int) -> tuple[Nearest, float, float]:
        start, processor = time.perf_counter(), time.thread_time()
        found = index.nearest(states[user][None], bias, top, 0)
        return found, time.perf_counter() - start, time.thread_time() - processor

    def searches(changes: _Changes | None) -> tuple[NDArray[np.float64], list[float], int]:
        took: list[tuple[float, float]] = []
        lags: list[float] = []
        missed = number = 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            sent = changes.sent.popleft() if changes and changes.sent else None
            user = sent.user if sent else number % len(states)
            found, clock, processor = search(user)
            took.append((clock, processor))
            number += 1
            if sent is not None:
                is_found = sent.row in found.rows[0]
                if is_found:
                    lags.append(time.perf_counter() - sent.at)
                # Of some users a hundred items are nearer still.
                missed += not is_found and found.scores[0, -1] < LIKENESS * LENGTH
        return 1000 * np.array(took), lags, missed

    search(0)
    quiet, _, _ = searches(None)
    changes = _Changes(index, states, per_second)
    changes.start()
    busy, lags, missed = searches(changes)
    changes.ended.set()
    changes.join()
    clock, processor = quiet[:, 0], quiet[:, 1]
    return {
        "searches": len(busy),
        "upserts": len(changes.put_ms),
        "not_found": int(missed),
        "visible_after_ms": _spread([1000 * lag for lag in lags]),
        "upsert_ms": _spread(changes.put_ms),
        "quiet_ms": _spread(clock),
        "busy_ms": _spread(busy[:, 0]),
        "quiet_cpu_ms": _spread(processor),
        "busy_cpu_ms": _spread(busy[:, 1]),
        "slowest_vs_p99": _slowest(busy[:, 0], clock),
        "slowest_vs_p99_cpu": _slowest(busy[:, 1], processor),
        "quiet_slowest_vs_p99": _slowest(clock, clock),
        "quiet_slowest_vs_p99_cpu": _slowest(processor, processor),
    }


def _slowest(ones: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return round(float(ones.max() / np.percentile(others, 99)), 3)


def _spread(values: Any) -> dict[str, float]:
    p50, p99, most = np.percentile(values, [50, 99, 100]) if len(values) else [np.nan] * 3
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(float(most), 4)}
