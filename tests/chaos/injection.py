"""Brings the faults of a schedule over servers and workers, each in a thread of its own."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from tests.chaos.fleet import Fleet
from tests.chaos.recovery import Progress
from tests.chaos.schedule import Fault, Kind
from tests.chaos.servers import Servers, stalled

END_S = 120.0
"""What the longest fault takes with its repair, several times over."""


class Injection:
    """Starts each burst when it is due and the one before is over.

    Args:
        faults: in the order of their bursts.
        servers: broker, Redis and proxies.
        fleet: the workers.
        progress: told of each fault as it comes.
        ends: by partition, where the log ends now.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        servers: Servers,
        fleet: Fleet,
        progress: Progress,
        ends: Callable[[], Mapping[int, int]],
    ) -> None:
        self._bursts = [list(burst) for _, burst in groupby(faults, lambda fault: fault.at)]
        self._servers = servers
        self._fleet = fleet
        self._progress = progress
        self._ends = ends
        self._running: list[threading.Thread] = []
        self.injected: Counter[str] = Counter()
        self.errors: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether all faults have come and gone."""
        return not self._bursts and not self._is_busy()

    def advance(self, done: int) -> None:
        """Start the next burst where so many records done make it due; returns at once."""
        if not self._bursts or self._bursts[0][0].at > done or self._is_busy():
            return
        self._running = [
            threading.Thread(target=self._bring, args=(fault,), daemon=True)
            for fault in self._bursts.pop(0)
        ]
        for thread in self._running:
            thread.start()

    def end(self) -> None:
        """Let no further fault come and wait for those that are under way."""
        self._bursts.clear()
        for thread in self._running:
            thread.join(END_S)

    def _is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._running)

    def _bring(self, fault: Fault) -> None:
        time.sleep(fault.delay_s)
        self._progress.wound(self._ends)
        try:
            self._inject(fault)
        except Exception as error:
            self.errors.append(f"{fault.kind} failed: {type(error).__name__}: {error}")
        else:
            self.injected[fault.kind.value] += 1

    def _inject(self, fault: Fault) -> None:
        servers, fleet = self._servers, self._fleet
        match fault.kind:
            case Kind.KILL_WORKER:
                fleet.kill(fault.choice)
            case Kind.PAUSE | Kind.LONG_PAUSE:
                fleet.pause(fault.choice, fault.seconds)
            case Kind.JOIN:
                fleet.join()
            case Kind.LEAVE:
                fleet.leave(fault.choice)
            case Kind.KILL_REDIS:
                servers.kill_redis()
            case Kind.KILL_BROKER | Kind.BROKER_OUTAGE:
                servers.fail_broker(fault.seconds)
            case Kind.CUT_REDIS:
                servers.redis_proxy.cut()
            case Kind.STALL_REDIS:
                with servers.redis_lock, stalled(servers.redis_proxy):
                    time.sleep(fault.seconds)
            case Kind.CUT_BROKER:
                assert servers.broker.proxy is not None
                servers.broker.proxy.cut()
            case Kind.STALL_BROKER:
                assert servers.broker.proxy is not None
                with servers.broker_lock, stalled(servers.broker.proxy):
                    time.sleep(fault.seconds)
