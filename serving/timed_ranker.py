"""A ranker that cannot hang its caller: a run ends in time, or fails while it goes on by itself."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from model.bundle import Bundle
from serving.execution import Execution
from serving.ranker import Found, Ranker, RankerError


class _Job:
    """A run in the line of them."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.future: Future[Any] = Future()
        self.begun_s: float | None = None
        """``time.monotonic``; None while it waits for its turn."""

    def left_s(self, timeout_s: float) -> float:
        """Of its time; all of it before its turn has come."""
        begun_s = self.begun_s
        return timeout_s if begun_s is None else begun_s + timeout_s - time.monotonic()


class TimedRanker(Ranker):
    """A ``Ranker`` whose runs fail after ``timeout_s`` seconds.

    Runs are made one by one; its time begins when a run's turn has come. A run inside of ONNX
    Runtime cannot be stopped. It keeps the one thread that runs are made in; until it ends every
    other run fails at once, so that runs do not pile up behind a dead device. CUDA graphs need that
    one thread too: ONNX Runtime plays back in a thread what it has recorded there.

    Raises:
        model.bundle.BundleError, serving.execution.ProviderError, RankerError: as ``Ranker`` does;
            ``rank`` raises RankerError also where a run is not done in time, or one that was given
            up is not done yet.
    """

    def __init__(self, bundle: Bundle, execution: Execution, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._turn = threading.Lock()
        self._overdue: Future[Any] | None = None
        # A daemon: a run that never ends must not keep the process from ending.
        threading.Thread(target=self._work, name="ranker", daemon=True).start()
        super().__init__(bundle, execution)

    @property
    def is_overdue(self) -> bool:
        """Whether a run that was given up has not ended yet; readable from any thread."""
        overdue = self._overdue
        return overdue is not None and not overdue.done()

    def _in_turn(self, run: Callable[[], Found], users: int) -> Found:
        with self._turn:
            future = self._in_line(run).future
            try:
                found: Found = future.result(self._timeout_s)
            except TimeoutError:
                self._overdue = future
                raise self._late(users) from None
            return found

    async def beside(self, run: Callable[[], Found], users: int) -> Found:
        """In the thread of the runs itself: each thread more that has to wake costs a micro-batch
        of a few events as much as a tenth of its run.

        The thread has the next run at hand when one has ended. Told of it by the loop it would wait
        for whatever the loop is about, which cost a tenth of the lists a second.
        """
        job = self._in_line(run)
        ended = asyncio.wrap_future(job.future)
        try:
            # Not wait_for: a run that was begun cannot be cancelled.
            while not (await asyncio.wait([ended], timeout=job.left_s(self._timeout_s)))[0]:
                if job.begun_s is None:
                    self._require_no_overdue()
                elif job.left_s(self._timeout_s) <= 0:
                    raise self._late(users)
            found: Found = ended.result()
            return found
        finally:
            if not job.future.cancel() and not job.future.done():
                self._overdue = job.future
                # Nobody will look at it any more when it fails.
                ended.add_done_callback(lambda late: late.cancelled() or late.exception())

    def _in_line(self, run: Callable[[], Any]) -> _Job:
        self._require_no_overdue()
        self._overdue = None
        job = _Job(run)
        self._jobs.put(job)
        return job

    def _require_no_overdue(self) -> None:
        if self.is_overdue:
            raise RankerError(
                f"a run that was given up after {self._timeout_s:g} s has not ended yet"
            )

    def _late(self, users: int) -> RankerError:
        return RankerError(
            f"a run of {users} users is not done after {self._timeout_s:g} s;"
            " look at the GPU, or restart the worker if it does not come back"
        )

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if not job.future.set_running_or_notify_cancel():
                continue  # nobody waits for it any more
            job.begun_s = time.monotonic()
            try:
                job.future.set_result(job.run())
            except Exception as error:
                job.future.set_exception(error)
