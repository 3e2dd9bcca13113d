"""What `make chaos-selftest` breaks, one at a time, to see that the suite notices.

A text that is to be replaced is found exactly once or the worker does not start: where the code
has moved on, the sabotage has to follow it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from serving.functions import FunctionLibrary, library_text
from stream import agents
from stream.batches import ack

SLOWNESS_S = 1.0
"""Between an acknowledgement that comes too early and the work: long enough to be killed in."""


@dataclass(frozen=True)
class Sabotage:
    """One way to break a worker."""

    commit: Callable[[], None]
    """Breaks this process."""
    red_checks: frozenset[str]
    """At least one of these checks must find differences."""


@dataclass(frozen=True)
class BrokenFunctions:
    """The server's half with one text replaced by another."""

    sound: str
    broken: str

    def text(self) -> str:
        """All of the library, broken. Raises RuntimeError unless the text is there once."""
        original = library_text()
        found = original.count(self.sound)
        if found != 1:
            raise RuntimeError(
                f"{self.sound!r} stands {found} times in serving/*.lua, not once; have "
                "tests/chaos/sabotage.py follow the change"
            )
        return original.replace(self.sound, self.broken)

    def __call__(self) -> None:
        """From now on every library of this process is the broken one."""
        make, text = FunctionLibrary.__init__, self.text()

        def broken(library: FunctionLibrary, *arguments: Any, **named: Any) -> None:
            make(library, *arguments, **{**named, "text": text})

        FunctionLibrary.__init__ = broken  # type: ignore[assignment,method-assign]


def _acknowledge_first() -> None:
    micro_batches = vars(agents)["micro_batches"]

    async def hasty(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
        async for events in micro_batches(*arguments, **named):
            for event in events:
                ack(event)
            await asyncio.sleep(SLOWNESS_S)
            yield events

    vars(agents)["micro_batches"] = hasty


SABOTAGES = {
    "acknowledge-first": Sabotage(
        _acknowledge_first,
        frozenset({"profiles", "searches without a list", "events without a list", "popularity"}),
    ),
    "no-deduplication": Sabotage(
        BrokenFunctions("if at == record then return section, false, middle end", ""),
        frozenset({"profiles"}),
    ),
    "no-forget-marker": Sabotage(
        BrokenFunctions(
            "local marker, links = struct.unpack('>d', held), string.sub",
            "local marker, links = -1, string.sub",
        ),
        frozenset({"profiles", "forgotten and still stored"}),
    ),
    "no-count-guard": Sabotage(
        BrokenFunctions("if not is_new then return applied end", ""),
        frozenset({"popularity", "co-visits", "items after a query"}),
    ),
}
