"""The replays into the topic that this folder knows of, and how far each is."""

from pathlib import Path
from typing import Any, NamedTuple

from stream.replay.checkpoint import is_held, read_state
from stream.replay.past import ReplayError
from stream.replay.work_folder import FOLDER


class ReplayState(NamedTuple):
    """A replay into the topic."""

    state: str
    """File that remembers it."""
    reads: str
    writes: str
    brokers: str
    is_complete: bool
    is_running: bool
    done: int
    """Records of the source that are behind it."""
    total: int | None
    """And all that it has; None where the state does not say."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        how = "complete" if self.is_complete else "running" if self.is_running else "stopped"
        return (
            f"replay of {self.reads} into `{self.writes}` at {self.brokers}: {how}, "
            f"{self.done:,}{of} records ({self.state})"
        )


def known_replays(folder: Path = FOLDER) -> list[ReplayState]:
    """Those whose state is kept where it is kept by default."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            state = read_state(path)
        except ReplayError:
            continue  # other files lie here too
        if state is not None:
            found.append(
                ReplayState(
                    str(path),
                    _told(state.work["reads"], state.notes),
                    state.work["writes"],
                    state.work["brokers"],
                    state.complete,
                    is_held(path),
                    state.done,
                    state.notes.get("total"),
                )
            )
    return found


def _told(reads: dict[str, Any], notes: dict[str, Any]) -> str:
    if "topic" in reads:
        return f"topic `{reads['topic']}`"
    names = notes.get("files", [])
    more = f" and {len(names) - 1:,} more files" if len(names) > 1 else ""
    return f"{names[0] if names else reads['files']}{more}"
