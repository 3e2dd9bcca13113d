"""What one API process holds: a worker's parts without its agent, a producer, and its keys."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

from serving.parts import Parts
from serving.similar import Similar
from stream.api.batcher import Batcher
from stream.api.event_writer import EventWriter
from stream.api.keys import KeyRing
from stream.api.lookups import Lookups
from stream.api.problems import ProblemError
from stream.api.rate_limit import RateLimit
from stream.readiness import Part, wait_out
from stream.settings import Settings
from stream.tracing import open_tracing
from stream.worker import Worker

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often the file of keys is looked at."""
CLOSE_S = 15.0


class Service:
    """Owns everything of one API process. ``load`` it, then ``start`` it in the event loop.

    Args:
        settings: of the API, and those that a worker takes.

    Raises:
        stream.api.keys.KeysError: the file of keys is at fault.
        stream.settings.SettingsError: traces are on, and what makes them is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = KeyRing(settings.api_keys)
        self.rate_limit = RateLimit()
        # The API serves its metrics itself, and traces what it sends.
        own = {"metrics_port": 0, "traces": "off"}
        self.worker = Worker(settings.model_copy(update=own), "api")
        self._tracing = open_tracing(settings, "nextclick-api")
        self.writer = EventWriter(settings, self._tracing)
        self._batcher: Batcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lasting: list[asyncio.Task[None]] = []
        self._is_open = False
        self.endless: list[Callable[[], None]] = []
        """Each ends answers that would go on for ever."""
        self.give_up: Callable[[], None] = lambda: None
        """Ends the process; called where `refusal` is set."""
        self.refusal: SystemExit | None = None
        """What a person has to mend before this process can open its parts."""

    def load(self) -> None:
        """Load bundle and rules, before anybody is answered; what is at fault there ends the
        start."""
        self.worker.load()

    @cached_property
    def similar(self) -> Similar:
        """What is like an item."""
        return Similar(lambda: self.parts)

    @cached_property
    def lookups(self) -> Lookups:
        """Of last lists."""
        return Lookups(self.parts.store)

    @property
    def is_open(self) -> bool:
        """Whether the parts can be had."""
        return self._is_open

    @property
    def parts(self) -> Parts:
        """Raises ProblemError until all of them are open and the catalogue has been read."""
        if not self._is_open:
            raise self.unready()
        return self.worker.load()

    @property
    def batcher(self) -> Batcher:
        """Raises ProblemError as ``parts`` does."""
        if self._batcher is None:
            raise self.unready()
        return self._batcher

    @property
    def causes(self) -> list[str]:
        """Why this process does not serve everything, part by part; empty where it does."""
        causes = [f"{part} is away" for part in sorted(self.worker.readiness.waiting_for)]
        if not self._is_open and not causes:
            causes.append("the catalogue is being read")
        return causes

    @property
    def is_broken(self) -> bool:
        """Whether something has ended that was to go on for ever: only a new start mends that."""
        return self.worker.crashed or any(task.done() for task in self._lasting)

    def unready(self) -> ProblemError:
        """Why nothing can be answered now."""
        return ProblemError(
            "unavailable",
            f"{', '.join(self.causes) or 'a part is away'}; try again, and look at /health/ready",
            {"Retry-After": "1"},
        )

    async def start(self) -> None:
        """Begin to open everything; requests are answered meanwhile, with what is missing."""
        lasting = [self._open(), self._follow_keys()]
        self._lasting = [asyncio.create_task(each) for each in lasting]
        for task in self._lasting:
            task.add_done_callback(_tell)
        self._tasks = [*self._lasting, asyncio.create_task(self._open_writer())]

    async def stop(self) -> None:
        """Close everything, in a bounded time."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(self.writer.stop(), self.worker.stop(), return_exceptions=True)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    async def _open(self) -> None:
        try:
            await self.worker.start()
        except SystemExit as refusal:
            # Out of the event loop it would be traces of everything that it breaks off.
            self.refusal = refusal
            self.give_up()
            return
        switch = await self.worker.ready()
        self._batcher = Batcher(lambda: switch.parts, self.settings.max_batch)
        self._is_open = True
        logger.info("nextclick API ready")
        await self._batcher.run()

    async def _open_writer(self) -> None:
        await wait_out(self.worker.readiness, "event writer", self.writer.start, Part.KAFKA)

    async def _follow_keys(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.keys.reload()


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the API has to be started again: %s", type(error).__name__, exc_info=error)
