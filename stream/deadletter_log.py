"""Says in the log that records become dead letters: at once, and then once a minute in figures."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from serving.intake import DeadLetter

logger = logging.getLogger(__name__)

EVERY_S = 60.0

Later = Callable[[float, Callable[[], None]], Any]
"""Has a function called so many seconds later."""


class DeadLetterLog:
    """Of one worker, used in its event loop.

    Reasons and places are told, and no details: they may quote a record, ids of users too.

    Args:
        later: by default the event loop's ``call_later``.
    """

    def __init__(self, later: Later | None = None) -> None:
        self._later = later
        self._counts: Counter[tuple[str, str]] = Counter()
        self._last = ""
        self._is_quiet = False

    def take(self, letters: Sequence[DeadLetter]) -> None:
        """Tell of them, or add them to what is told next."""
        if not letters:
            return
        self._counts.update((each.record.topic, each.error.reason) for each in letters)
        last = letters[-1].record
        self._last = f"{last.topic}:{last.partition}:{last.offset}"
        if not self._is_quiet:
            self._tell_and_wait()

    def close(self) -> None:
        """Tell what has not been told yet."""
        if self._counts:
            self._tell()

    def _tell_and_wait(self) -> None:
        self._is_quiet = bool(self._counts)
        if self._counts:
            self._tell()
            later = self._later or asyncio.get_running_loop().call_later
            later(EVERY_S, self._tell_and_wait)

    def _tell(self) -> None:
        told = [f"{topic} {count:,} {why}" for (topic, why), count in self._counts.most_common()]
        logger.warning(
            "records that became dead letters: %s; the last is %s; `nextclick dlq list` shows them",
            ", ".join(told),
            self._last,
        )
        self._counts.clear()
