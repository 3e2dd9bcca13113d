"""The workers of a run: killed, frozen, woken, sent away and brought back."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from stream.settings import Settings, child_environment
from stream.worker_process import JOINED_LINE, READY_LINE
from tests.chaos.worker import JOURNAL, SABOTAGE

LEAVE_S = 90.0
"""A worker asked to stop ends its micro-batch first, which may wait for Redis or Kafka."""
READY_S = 120.0
MOST, LEAST = 3, 2


class ChaosWorker:
    """One process. Its owner's death ends it, through the pipe that is its standard input."""

    def __init__(self, name: str, log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self.is_paused = False
        self.is_leaving = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=Path(__file__).parent.parent.parent,
                start_new_session=True,
            )

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def is_ready(self) -> bool:
        """Whether it has its partitions."""
        text = self.log.read_text(errors="replace")
        return READY_LINE in text and JOINED_LINE in text

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; to one that is gone already it is lost."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None where it still runs after that."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """SIGKILL, frozen or not, and take its pipe back."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def last_words(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-2_000:]


class Fleet:
    """Two or three workers. Every method may be called from any thread.

    Args:
        settings: of the workers.
        folder: for their output and the journal.
        sabotage: what is broken in each of them on purpose; "" for nothing.
    """

    def __init__(self, settings: Settings, folder: Path, sabotage: str = "") -> None:
        self.journal = folder / "journal"
        self.deaths: list[str] = []
        """Of workers that died by themselves or did not stop when asked: a sentence each."""
        self._folder = folder
        self._environment = child_environment(settings) | {JOURNAL: str(self.journal)}
        if sabotage:
            self._environment[SABOTAGE] = sabotage
        self._lock = threading.Lock()
        self._workers: list[ChaosWorker] = []
        self.started = 0
        """Workers, restarted ones too."""
        self.journal.touch()

    def start(self, count: int) -> None:
        """Start so many more workers and return at once."""
        with self._lock:
            for _ in range(count):
                self._start_one()

    def _start_one(self) -> None:
        self.started += 1
        log = self._folder / f"worker-{self.started}.log"
        self._workers.append(ChaosWorker(f"worker {self.started}", log, self._environment))

    def wait_ready(self) -> None:
        """Return once each worker has its partitions."""
        deadline = time.monotonic() + READY_S
        while not all(worker.is_ready for worker in self._workers):
            self.note_deaths()
            if self.deaths or time.monotonic() > deadline:
                words = [worker.last_words() for worker in self._workers]
                raise RuntimeError("the workers do not start: " + "\n".join([*self.deaths, *words]))
            time.sleep(0.1)

    def kill(self, choice: float) -> None:
        """SIGKILL one and start another in its place."""
        with self._lock:
            worker = self._chosen(choice)
            self._workers.remove(worker)
            worker.end()
            self._start_one()

    def pause(self, choice: float, seconds: float) -> None:
        """SIGSTOP one, and SIGCONT after so long."""
        with self._lock:
            worker = self._chosen(choice)
            worker.is_paused = True
            worker.signal(signal.SIGSTOP)
        time.sleep(seconds)
        worker.signal(signal.SIGCONT)
        worker.is_paused = False

    def join(self) -> None:
        """One more worker, up to `MOST`: where there are as many, the oldest leaves for it."""
        with self._lock:
            count = sum(not worker.is_leaving for worker in self._workers)
            self._start_one()
        if count >= MOST:
            self.leave(0.0)

    def leave(self, choice: float) -> None:
        """SIGTERM one and see it out; where only `LEAST` are left another comes for it."""
        with self._lock:
            if sum(not worker.is_leaving for worker in self._workers) <= LEAST:
                self._start_one()
            worker = self._chosen(choice)
            worker.is_leaving = True
        self._see_out(worker)

    def stop(self) -> None:
        """Ask all to stop and see them out."""
        with self._lock:
            leaving = [worker for worker in self._workers if not worker.is_leaving]
            for worker in leaving:
                worker.is_leaving = True
        threads = [threading.Thread(target=self._see_out, args=(worker,)) for worker in leaving]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def end(self) -> None:
        """SIGKILL whatever is left."""
        with self._lock:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def note_deaths(self) -> None:
        """Write down who has died by itself, and put another in its place."""
        with self._lock:
            for worker in list(self._workers):
                if worker.status is not None and not worker.is_leaving:
                    self.deaths.append(
                        f"{worker.name} ended with status {worker.status} by itself, see "
                        f"{worker.log}: {worker.last_words()[-600:]}"
                    )
                    self._workers.remove(worker)
                    worker.end()
                    self._start_one()

    def _see_out(self, worker: ChaosWorker) -> None:
        worker.signal(signal.SIGTERM)
        status = worker.wait(LEAVE_S)
        # Where nothing is said yet, the interpreter was still loading and had no handler.
        was_loading = status == -signal.SIGTERM and not worker.log.stat().st_size
        if status != 0 and not was_loading:
            told = "did not stop" if status is None else f"ended with status {status}"
            self.deaths.append(
                f"{worker.name} {told} when asked to leave, see {worker.log}: "
                f"{worker.last_words()[-600:]}"
            )
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
                worker.end()

    def _chosen(self, choice: float) -> ChaosWorker:
        """One that is not frozen or leaving; rather one that is at work than one that starts."""
        awake = [each for each in self._workers if not (each.is_paused or each.is_leaving)]
        if not awake:
            self._start_one()
            awake = [self._workers[-1]]
        ready: Sequence[ChaosWorker] = [each for each in awake if each.is_ready] or awake
        return ready[int(choice * len(ready))]

    def pids(self) -> list[int]:
        """Of those that run."""
        with self._lock:
            return [each._process.pid for each in self._workers]


def is_alive(pid: int) -> bool:
    """Whether there is a process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
