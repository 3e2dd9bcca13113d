"""Processes whose pace is measured: the product's worker, by its metrics, and every contender."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.contender import ONE_THREAD
from benchmarks.pace import INTERVAL_S, Pace, PaceError, Sample, pace_of
from stream.embedded_redis import free_port
from stream.settings import Settings, child_environment
from stream.worker_process import WorkerProcess

PATIENCE_S = 180.0
"""For the first event: a contender starts in seconds on a quiet machine."""
TOTALS = {
    "nextclick_events_total": "done",
    "nextclick_lists_total": "lists",
    "nextclick_batch_events_count": "batches",
    "process_cpu_seconds_total": "cpu_s",
}
STEP = 'nextclick_step_seconds_sum{step="'


class MeasuredWorker:
    """A worker of the product, watched from outside.

    Args:
        settings: of the worker.
        log: file for its output.
        core: the only one that it may run on; None for all.
        process: what runs it.
    """

    def __init__(
        self,
        settings: Settings,
        log: Path,
        core: int | None = None,
        process: type[WorkerProcess] = WorkerProcess,
    ) -> None:
        self._core = core
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/metrics"
        self.process = process(settings.model_copy(update={"metrics_port": port}), log.stem, log)

    def start(self) -> None:
        """Start the process and return at once."""
        everywhere = os.sched_getaffinity(0)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})  # which a child inherits
        try:
            self.process.start()
        finally:
            os.sched_setaffinity(0, everywhere)

    def samples(self) -> Iterator[Sample]:
        """What it has done so far, ten times a second."""
        while True:
            self.process.refuse_death()
            yield self.sample()
            time.sleep(INTERVAL_S)

    def sample(self) -> Sample:
        """What it has done by now; ``step/NAME`` are the seconds spent in a step."""
        found: Sample = {"at": time.monotonic(), **dict.fromkeys(TOTALS.values(), 0.0)}
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            name, _, value = line.rpartition(" ")
            if (total := TOTALS.get(name.partition("{")[0])) is not None:
                found[total] += float(value)
            elif name.startswith(STEP):
                found[f"step/{name[len(STEP) :].partition(chr(34))[0]}"] = float(value)
        return found

    @property
    def rss_mb(self) -> float:
        """Resident memory now."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)


@contextmanager
def running(workers: Sequence[MeasuredWorker]) -> Iterator[None]:
    """Workers that have their partitions, until the end of the block."""
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.process.wait_ready()
        yield
    finally:
        for worker in workers:
            worker.process.request_stop()
        for worker in workers:
            worker.process.stop()


def worker_pace(settings: Settings, log: Path, *, counter: str, seconds: float, total: int) -> Pace:
    """The pace of one worker of the product over the backlog, by ``lists`` or events (``done``).

    Raises:
        stream.worker_process.WorkerError: it has died or did not start.
        PaceError: it did nothing.
    """
    worker = MeasuredWorker(settings, log)
    with running([worker]):
        first, last = pace_of(
            worker.samples(),
            seconds=seconds,
            total=total,
            patience_s=PATIENCE_S,
            counter=counter,
        )
        return Pace(_gained(first, last), worker.rss_mb)


def contender_pace(
    settings: Settings,
    module: str,
    arguments: Sequence[str],
    *,
    seconds: float,
    total: int,
    environment: Mapping[str, str] | None = None,
) -> Pace:
    """The pace of ``python -m module *arguments``, which tells its progress.

    Raises:
        PaceError: it did nothing or ended; its error stands on standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(settings) | ONE_THREAD | dict(environment or {}),
    )
    try:
        assert process.stdout is not None
        told = (json.loads(line) for line in process.stdout if line.startswith("{"))
        try:
            first, last = pace_of(told, seconds=seconds, total=total, patience_s=PATIENCE_S)
        except PaceError as error:
            raise PaceError(f"{module} {' '.join(arguments)}: {error}") from None
        return Pace(_gained(first, last), psutil.Process(process.pid).memory_info().rss / 2**20)
    finally:
        process.kill()  # none of them has anything that is worth a clean end
        process.communicate()


def _gained(first: Sample, last: Sample) -> Sample:
    return {name: value - first.get(name, 0.0) for name, value in last.items()}
