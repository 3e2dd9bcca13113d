"""Keeps a log readable while a part is away: aiokafka tells each of 100 vain tries a second."""

import logging
import time
from collections.abc import Callable

QUIET_S = 30.0
LOGGERS = (
    "aiokafka",  # its client
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "stream.catalog_feed",
)
"""Each that logs retries: a filter of a logger does not see what its children log."""


class Repetition(logging.Filter):
    """Lets a warning through once in ``QUIET_S`` seconds of `clock`, and counts the rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a warning or an error that was told a short time ago."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, str(record.msg))
        now = self._clock()
        quiet_until, left_out = self._told.get(key, (now, 0))
        if now < quiet_until:
            self._told[key] = (quiet_until, left_out + 1)
            return False
        self._told[key] = (now + QUIET_S, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it before)", ()
        return True


def tell_repetitions_once() -> None:
    """Put the filter before the loggers of this process; a second call does nothing more."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, Repetition) for known in logger.filters):
            logger.addFilter(Repetition())
