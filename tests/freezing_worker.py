"""A fault hook: the ordinary worker, a part of which hangs for ever from a signal on.

Run as ``python -m tests.freezing_worker PART``.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from serving.recommend import prepare
from stream import agents
from stream.batch_fetch import BatchConsumerThread
from stream.settings import Settings
from stream.worker_process import WorkerProcess, run_worker

FREEZE = signal.SIGRTMIN  # Faust takes SIGUSR1 and SIGUSR2
PARTS = ("loop", "thread", "fetch", "agent")


class FreezingWorker(WorkerProcess):
    """A worker process with the hook in it."""

    def __init__(self, settings: Settings, name: str, log: Path, part: str) -> None:
        assert part in PARTS
        super().__init__(settings, name, log)
        self._part = part

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.freezing_worker", self._part]

    def be_patient(self) -> None:
        """From its next start on: where the broker still waits for the one before it, a worker
        gets its partitions only after a session of that."""
        self._settings = self._settings.model_copy(update={"stall_s": 150.0})

    def freeze(self) -> None:
        """From now on that part hangs, until the process ends."""
        os.kill(self.pid, FREEZE)


def main(part: str) -> None:
    frozen = threading.Event()

    def freeze(number: int, frame: object) -> None:
        frozen.set()
        if part == "loop":
            threading.Event().wait()  # in the main thread, which is that of the event loop

    signal.signal(FREEZE, freeze)
    if part in ("fetch", "thread"):
        _freeze_fetch(frozen, with_its_thread=part == "thread")
    if part == "agent":
        _freeze_agent(frozen)
    run_worker(Settings(), follow_owner=True)


def _freeze_fetch(frozen: threading.Event, *, with_its_thread: bool) -> None:
    fetch = BatchConsumerThread._fetch_records

    async def freezing(self: BatchConsumerThread, *given: Any, **named: Any) -> Any:
        if frozen.is_set():
            if with_its_thread:
                threading.Event().wait()
            await asyncio.Event().wait()
        return await fetch(self, *given, **named)

    BatchConsumerThread._fetch_records = freezing  # type: ignore[method-assign]


def _freeze_agent(frozen: threading.Event) -> None:
    assert vars(agents)["prepare"] is prepare, "the agent learns elsewhere"

    async def freezing(*given: Any) -> Any:
        if frozen.is_set():
            await asyncio.Event().wait()
        return await prepare(*given)

    vars(agents)["prepare"] = freezing


if __name__ == "__main__":
    main(sys.argv[1])
