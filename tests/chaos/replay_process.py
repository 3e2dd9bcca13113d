"""The command line, with a build of small epochs, or with one that is broken on purpose.

    python -m tests.chaos.replay_process EVENTS LEASE_MS SABOTAGE replay files ...

EVENTS of an epoch and LEASE_MS of a builder: 0 for the product's own.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from stream import cli
from stream.replay import build, build_state
from stream.replay.build import Epoch, _Build
from stream.replay.build_state import Builder, BuildState
from tests.chaos.stored import COUNT, PROFILE


@dataclass(frozen=True)
class Sabotage:
    """One way to break a build."""

    commit: Callable[[], None]
    """Breaks this process."""
    red_check: str
    """What must differ then."""


def _note_nothing() -> None:
    """Whoever goes on knows neither the step nor the number of an epoch."""

    async def hold(builder: Builder, state: BuildState) -> None:
        await builder._call("hold")

    Builder.note = hold  # type: ignore[assignment,method-assign]


def _pass_over() -> None:
    """An epoch that broke off is taken for done."""
    learn = _Build._learn

    async def pass_over(
        running: _Build, epoch: Epoch, open_state: BuildState | None = None
    ) -> None:
        if open_state is None:
            await learn(running, epoch)
            return
        await running._keep(epoch.end)
        await running._step("done")

    _Build._learn = pass_over  # type: ignore[assignment,method-assign]


SABOTAGES = {
    "note-nothing": Sabotage(_note_nothing, COUNT),
    "pass-over": Sabotage(_pass_over, PROFILE),
}

if __name__ == "__main__":
    events, lease_ms, sabotage = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    build.MOST_EVENTS = events or build.MOST_EVENTS
    build_state.LEASE_MS = lease_ms or build_state.LEASE_MS
    if sabotage:
        SABOTAGES[sabotage].commit()
    sys.argv[1:] = sys.argv[4:]
    cli.main()
