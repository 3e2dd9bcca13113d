"""A worker's watch over itself: what is served of it, and what is done when it stalls."""

import asyncio

from serving.timed_ranker import TimedRanker
from stream.assignment import Assignment
from stream.generation_switch import GenerationSwitch
from stream.liveness import Liveness
from stream.probe_server import ProbeServer
from stream.readiness import Readiness
from stream.settings import Settings
from stream.stall_watch import StallWatch, look_s
from stream.watchdog import Watchdog


class SelfWatch:
    """Probes and watchdog from ``open`` to ``close``, judging from ``run`` on.

    Args:
        settings: of the worker.
        readiness: of the worker.
        assignment: of the worker; one without an app, as in an API process, has no consumer that
            could stall.
    """

    def __init__(self, settings: Settings, readiness: Readiness, assignment: Assignment) -> None:
        self._settings, self._readiness, self._assignment = settings, readiness, assignment
        # As often as anybody looks: an idle worker is not to be woken for more. The last beat of an
        # event loop that hangs is up to that much older than its last step.
        self._beat_s = look_s(settings)
        self.liveness = Liveness(settings.stall_s + self._beat_s)
        self._probes: ProbeServer | None = None
        self._watchdog: Watchdog | None = None

    def open(self) -> None:
        """Serve the probes and wake the watchdog. Raises SystemExit where the port is taken."""
        bind, port = self._settings.metrics_bind, self._settings.metrics_port
        if port:
            try:
                self._probes = ProbeServer(bind, port, self.liveness, self._readiness)
            except OSError as error:
                raise SystemExit(
                    f"nextclick: metrics cannot be served on {bind}, port {port} "
                    f"({error.strerror}); set NEXTCLICK_METRICS_PORT or NEXTCLICK_METRICS_BIND"
                ) from None
        if self._assignment.consumer is not None:
            ends = self._settings.exit_when_stalled
            self._watchdog = Watchdog(self.liveness, self._beat_s, ends=ends)

    def close(self) -> None:
        """Close the port and put the watchdog to sleep: who stops a worker sees to its end."""
        self.liveness.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._probes is not None:
            self._probes.stop()

    async def run(self, switch: GenerationSwitch) -> None:
        """Show that the event loop runs, and look for what has stalled in it, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            if (consumer := self._assignment.consumer) is not None:
                watch = StallWatch(
                    self._settings, self._readiness, self.liveness, lambda: _is_overdue(switch)
                )
                tasks.create_task(watch.run(consumer))

    async def _beat(self) -> None:
        while True:
            self.liveness.beat()
            await asyncio.sleep(self._beat_s)


def _is_overdue(switch: GenerationSwitch) -> bool:
    ranker = switch.parts.ranker
    return isinstance(ranker, TimedRanker) and ranker.is_overdue
