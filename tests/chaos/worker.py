"""A worker under observation: the ordinary one, and a journal of what reached its agent.

Run as ``python -m tests.chaos.worker`` with the settings of a worker and two variables more.
"""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import faust
import numpy as np
from faust.types import EventT
from numpy.typing import NDArray

from stream import agents
from stream.batches import RecordBatch, micro_batches
from stream.settings import Settings
from stream.settings_sources import TEST_PREFIX
from stream.worker_process import run_worker
from tests.chaos.sabotage import SABOTAGES

JOURNAL = f"{TEST_PREFIX}CHAOS_JOURNAL"
SABOTAGE = f"{TEST_PREFIX}CHAOS_SABOTAGE"
ENTRY = np.dtype(
    [("time", "<f8"), ("pid", "<u4"), ("partition", "<u4"), ("first", "<u8"), ("last", "<u8")]
)


class Journal:
    """Which records were delivered to whom; what was written stays whatever becomes of us."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._pid = os.getpid()

    def note(self, events: list[EventT[RecordBatch]]) -> None:
        """One micro-batch, in one write."""
        now = time.time()
        entries = np.array(
            [
                (now, self._pid, each.partition, each.records[0].offset, each.records[-1].offset)
                for each in (cast(RecordBatch, event.value) for event in events)
            ],
            ENTRY,
        )
        os.write(self._file, entries.tobytes())


def read_journal(path: Path) -> NDArray[np.void]:
    """All entries, in the order in which they were written."""
    return np.fromfile(path, ENTRY)


def observe(journal: Journal) -> None:
    """Have the agent's micro-batches written down as they come."""
    assert vars(agents)["micro_batches"] is micro_batches, "the agent takes its batches elsewhere"

    async def observed(
        arrivals: faust.StreamT[RecordBatch], *arguments: Any, **named: Any
    ) -> AsyncIterator[list[EventT[RecordBatch]]]:
        async for events in micro_batches(arrivals, *arguments, **named):
            journal.note(events)
            yield events

    vars(agents)["micro_batches"] = observed


def main() -> None:
    """Run a worker until a signal ends it, or its owner is gone."""
    observe(Journal(Path(os.environ[JOURNAL])))
    if name := os.environ.get(SABOTAGE):
        SABOTAGES[name].commit()
    run_worker(Settings(), follow_owner=True)


if __name__ == "__main__":
    main()
