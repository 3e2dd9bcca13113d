"""A ranker that cannot hang its caller: a run ends in time, or fails while it goes on by itself."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from model.bundle import Bundle
from serving.execution import Execution
from serving.ranker import Found, Ranker, RankerError


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
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._turn = threading.Lock()
        self._turn_of_tasks = asyncio.Lock()
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
            future = self._begun(run)
            try:
                return future.result(self._timeout_s)
            except TimeoutError:
                self._overdue = future
                raise self._late(users) from None

    async def beside(self, run: Callable[[], Found], users: int) -> Found:
        """In the thread of the runs itself: each thread more that has to wake costs a micro-batch
        of a few events as much as a tenth of its run."""
        async with self._turn_of_tasks:
            future = self._begun(run)
            ended = asyncio.wrap_future(future)
            try:
                # Not wait_for: a run that was begun cannot be cancelled.
                if not (await asyncio.wait([ended], timeout=self._timeout_s))[0]:
                    raise self._late(users)
                return ended.result()
            finally:
                if not ended.done():
                    self._overdue = future
                    # Nobody will look at it any more when it fails.
                    ended.add_done_callback(lambda late: late.cancelled() or late.exception())

    def _begun(self, run: Callable[[], Found]) -> "Future[Found]":
        if self.is_overdue:
            raise RankerError(
                f"a run that was given up after {self._timeout_s:g} s has not ended yet"
            )
        self._overdue = None
        future: Future[Found] = Future()
        self._jobs.put((future, run))
        return future

    def _late(self, users: int) -> RankerError:
        return RankerError(
            f"a run of {users} users is not done after {self._timeout_s:g} s;"
            " look at the GPU, or restart the worker if it does not come back"
        )

    def _work(self) -> None:
        while True:
            future, run = self._jobs.get()
            try:
                future.set_result(run())
            except Exception as error:
                future.set_exception(error)
