"""Everything on this machine: an embedded broker and Redis and some workers, gone at the end."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis, free_port
from stream.settings import Settings
from stream.topics import plan_topics
from stream.worker_process import ApiProcess, WorkerProcess

LOGS = Path(".nextclick/logs")
FIRST_JOIN_MS = 3_000
"""Workers that start together meet in the group's first join; a later one costs a session."""


class LocalCluster:
    """Use it as a context manager: the block begins with broker and Redis, workers come on call.

    Args:
        settings: of the workers; where Kafka and Redis are to be found is replaced.
        logs: folder of the workers' output.

    Raises:
        EmbeddedError: a server does not start, or its package is not installed.
    """

    def __init__(self, settings: Settings, *, logs: Path = LOGS) -> None:
        self._asked = settings
        self._logs = logs
        self._stack = ExitStack()
        self._settings: Settings | None = None
        self.workers: list[WorkerProcess] = []
        self._metrics: list[str] = []
        self._api: ApiProcess | None = None

    @property
    def settings(self) -> Settings:
        """How to reach this cluster; only inside of the block."""
        if self._settings is None:
            raise RuntimeError("a LocalCluster has no addresses outside of its `with` block")
        return self._settings

    def __enter__(self) -> Self:
        topics = {plan.name: plan.partitions for plan in plan_topics(self._asked)}
        with ExitStack() as stack:
            broker = stack.enter_context(EmbeddedBroker(topics, first_join_ms=FIRST_JOIN_MS))
            redis = stack.enter_context(EmbeddedRedis())
            self._settings = local_settings(self._asked, broker.bootstrap, redis.url)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with uninterrupted():
            try:
                if self._api is not None:
                    self._api.stop()
                self.stop_workers()
            finally:
                self._stack.close()
                self._settings = None

    def start_workers(self, count: int) -> None:
        """Start so many more workers and return once each has its partitions.

        Raises:
            WorkerError: one has died or is not ready in time.
        """
        first = len(self.workers) + 1
        for number in range(first, first + count):
            first_port = self.settings.metrics_port
            # One port each: the second would not start.
            port = first_port + number - 1 if first_port else free_port()
            settings = self.settings.model_copy(update={"metrics_port": port})
            self._metrics.append(f"{_host(settings.metrics_bind)}:{port}")
            log = self._logs / f"worker-{number}.log"
            worker = WorkerProcess(settings, f"worker {number}", log)
            self.workers.append(worker)
            worker.start()
        for worker in self.workers:
            worker.wait_ready()

    def start_api(self) -> str:
        """Start the API with the console; returns the address of the latter.

        Raises:
            WorkerError: it has died or is not ready in time.
        """
        settings = self.settings.model_copy(
            update={"console": True, "console_workers": ",".join(self._metrics)}
        )
        address, port = settings.api_bind, settings.api_port
        if not port or is_taken(address, port):
            port = free_port()
            settings = settings.model_copy(update={"api_port": port})
        self._api = ApiProcess(settings, "the API", self._logs / "api.log")
        self._api.start()
        self._api.wait_ready()
        scheme = "https" if settings.api_cert_file else "http"
        return f"{scheme}://{_host(address)}:{port}/console/"

    def stay(self, console: Console) -> None:
        """Start workers again that stall, and say so, until Ctrl-C or SIGTERM.

        Raises WorkerError where a process has ended for another reason.
        """
        try:
            while True:
                for worker in self.look_after_workers():
                    console.print(f"{worker.name} had stalled and is started again: {worker.log}")
                time.sleep(0.5)
        except KeyboardInterrupt:
            return

    def stop_workers(self) -> list[int | None]:
        """Have all workers finish; returns their exit statuses."""
        workers, self.workers = self.workers, []
        self._metrics.clear()
        for worker in workers:
            worker.request_stop()
        return [worker.stop() for worker in workers]

    def look_after_workers(self) -> list[WorkerProcess]:
        """Start each again that has found itself stalled, and tell which.

        Raises WorkerError where a worker has ended for another reason.
        """
        again = [worker for worker in self.workers if worker.start_again_if_stalled()]
        self.refuse_death()
        return again

    def refuse_death(self) -> None:
        """Raise WorkerError where a worker or the API is not running any more."""
        for process in (*self.workers, self._api):
            if process is not None:
                process.refuse_death()


def _host(address: str) -> str:
    """As it stands before a port."""
    return f"[{address}]" if ":" in address else address


def is_taken(address: str, port: int) -> bool:
    """Whether nobody may serve there any more."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
        except OSError:
            return True
    return False


def local_settings(settings: Settings, brokers: str, redis_url: str) -> Settings:
    """``settings`` pointed at embedded servers, which know no login, no TLS and no replicas."""
    local = {
        name: field.default
        for name, field in Settings.model_fields.items()
        if name.startswith(("kafka_", "redis_")) and name not in {"redis_prefix", "redis_timeout_s"}
    }
    local |= {"replication_factor": 1, "min_insync_replicas": 1}
    local |= {"brokers": brokers, "redis_url": redis_url, "embedded": True}
    local |= {"exit_when_stalled": True}  # whoever started the workers looks after them
    return Settings(**{**settings.model_dump(), **local})


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM: a second one must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread only
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside of the block SIGTERM ends things the way Ctrl-C does, by KeyboardInterrupt."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
