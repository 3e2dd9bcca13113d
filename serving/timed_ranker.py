"""A ranker that cannot hang its caller: a run ends in time, or fails while it goes on by itself."""

import threading
from concurrent.futures import Future
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, Precision
from model.features import Interactions, Searches
from serving.nearest import NearestBy
from serving.ranker import Provider, Ranker, RankerError, Scores

Job = tuple[
    "Future[Scores]",
    list[Interactions],
    list[NDArray[np.int64]],
    NDArray[np.float32],
    list[Searches] | None,
]


class TimedRanker(Ranker):
    """A ``Ranker`` whose runs fail after ``timeout_s`` seconds.

    Runs are made one by one; its time begins when a run's turn has come. A run inside of ONNX
    Runtime cannot be stopped. It keeps the one thread that runs are made in; until it ends every
    other run fails at once, so that runs do not pile up behind a dead device.

    Raises:
        model.bundle.BundleError, serving.ranker.ProviderError: as ``Ranker`` does.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: Provider,
        threads: int,
        timeout_s: float,
        precision: Precision = "fp32",
        nearest: NearestBy = "auto",
    ) -> None:
        self._timeout_s = timeout_s
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._turn = threading.Lock()
        self._overdue: Future[Scores] | None = None
        # A daemon: a run that never ends must not keep the process from ending.
        threading.Thread(target=self._work, name="ranker", daemon=True).start()
        super().__init__(
            bundle, provider=provider, threads=threads, precision=precision, nearest=nearest
        )

    def rank(
        self,
        histories: list[Interactions],
        candidates: list[NDArray[np.int64]],
        item_bias: NDArray[np.float32],
        searches: list[Searches] | None,
    ) -> Scores:
        """As ``Ranker.rank``; blocks for ``timeout_s`` at most once its turn has come.

        Raises:
            RankerError: ONNX Runtime failed, is not done in time, or is not done with an earlier
                run that was given up.
        """
        with self._turn:
            if self._overdue is not None and not self._overdue.done():
                raise RankerError(
                    f"a run that was given up after {self._timeout_s:g} s has not ended yet"
                )
            self._overdue = None
            run: Future[Scores] = Future()
            self._jobs.put((run, histories, candidates, item_bias, searches))
            try:
                return run.result(self._timeout_s)
            except TimeoutError:
                self._overdue = run
                raise RankerError(
                    f"a run of {len(histories)} users is not done after {self._timeout_s:g} s;"
                    " look at the GPU, or restart the worker if it does not come back"
                ) from None

    def _work(self) -> None:
        while True:
            run, histories, candidates, item_bias, searches = self._jobs.get()
            try:
                run.set_result(super().rank(histories, candidates, item_bias, searches))
            except Exception as error:
                run.set_exception(error)
