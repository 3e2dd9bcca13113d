"""How fast a contender goes: samples of what it has done so far, taken while it works.

The far end tells them on standard output (``tell_progress``); a worker of the product is asked for
its metrics instead. A rate is read between the first sample with anything done and the last one,
so that neither the start of a process nor the end of the backlog counts.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

INTERVAL_S = 0.1
CPU_TICK_S = 0.01
"""What the kernel counts processor time in, where it counts it for others."""


@dataclass
class Progress:
    """What the far end has done; it writes here, ``tell_progress`` reads."""

    done: int = 0
    lists: int = 0


def tell_progress(progress: Progress) -> None:
    """Write a sample to standard output ten times a second, from a thread, until the end."""

    def tell() -> None:
        while True:
            # Not by way of sys.stdout, which Faust's worker puts its log in place of.
            os.write(1, json.dumps(_sample(progress)).encode() + b"\n")
            time.sleep(INTERVAL_S)

    threading.Thread(target=tell, daemon=True).start()


def _sample(progress: Progress) -> dict[str, float]:
    return {
        "at": time.monotonic(),
        "cpu_s": time.process_time(),
        "done": progress.done,
        "lists": progress.lists,
    }


Sample = dict[str, float]
"""``at`` (s), ``cpu_s``, ``done`` (events), ``lists``; others count whatever they are called."""


@dataclass(frozen=True)
class Pace:
    """What was gained between two samples."""

    gained: Sample
    rss_mb: float

    def per_s(self, counter: str) -> float:
        """Rate of a counter."""
        return self.gained[counter] / self.gained["at"]

    def cpu_us_per(self, counter: str) -> float:
        """Processor time of the contender's process for one of these, microseconds."""
        return max(self.gained["cpu_s"], CPU_TICK_S) / max(self.gained[counter], 1) * 1e6


class PaceError(RuntimeError):
    """A contender did nothing in time, or ended."""


def pace_of(
    samples: Iterator[Sample],
    *,
    seconds: float,
    total: int,
    patience_s: float,
    counter: str = "done",
) -> tuple[Sample, Sample]:
    """The first sample with anything done, and the last one within so many seconds of it.

    Where a contender is slower than that, the one that shows more done than the first.

    Args:
        samples: as they come; their end is the contender's.
        seconds: to look at.
        total: events there are to be done; at the last one it is over.
        patience_s: for the first event, and for the one after it.
        counter: what has to have been done.

    Raises:
        PaceError: nothing, or nothing more, was done.
    """
    told = next(samples, None)
    if told is None:
        raise PaceError("it ended before it told anything; its error stands above")
    first = last = told
    begun = first["at"]
    for sample in samples:
        if not first[counter]:
            first = last = sample
            begun = begun if not sample[counter] else sample["at"]
        elif sample["done"] >= total and last[counter] > first[counter]:
            break  # the sample before tells the pace: the end came somewhere in between
        else:
            last = sample
            if last[counter] > first[counter] and (
                last["done"] >= total or last["at"] - first["at"] >= seconds
            ):
                break
        if last[counter] == first[counter] and sample["at"] - begun > patience_s:
            raise PaceError(f"{counter} is {first[counter]:.0f} after {patience_s:.0f} s")
    if last[counter] == first[counter]:
        raise PaceError(f"it ended with {counter} at {first[counter]:.0f}, too soon to be timed")
    return first, last
