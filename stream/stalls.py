"""Whether a consumer has stalled: pure judgement over what is seen of it, look after look.

Each check holds while its condition does and nothing of what should move has moved. What has held
for longer than `patience_s` is a stall. Anything that moves begins the time anew, and so does a
rebalance, a part that is waited for, or a broker that does not answer: none of these is mended by a
new start.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition


class Standing(NamedTuple):
    """How far one assigned partition has come."""

    position: int | None
    """Offset of the next record to fetch; None until it is known."""
    undone_from: int | None = None
    """Offset of the first record that was delivered and is not done; None where there is none."""
    taken_from: int | None = None
    """Offset of the first of them that the agent has in work; None where it has none."""
    is_uncommitted: bool = False
    """Whether more is done than committed."""


@dataclass(frozen=True)
class Sight:
    """What one look has seen."""

    standings: Mapping[TopicPartition, Standing] = field(default_factory=dict)
    """Of the partitions that are assigned; empty during a rebalance."""
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Where these partitions end, as far as brokers have answered."""
    assignment: int = 0
    """Another number after each rebalance."""
    is_rebalancing: bool = False
    is_full: bool = False
    """Whether so much waits for the agent that nothing is fetched."""
    endings: int = 0
    """Attempts of the agent that have failed so far, and steps of what may take it long."""
    commits: int = 0
    """Commits that have been answered so far, well or not."""
    is_thread_silent: bool = False
    """Whether the consumer's thread has not answered since the look before."""
    is_run_overdue: bool = False
    """Whether a run of the model that was given up has not ended."""
    is_waiting: bool = False
    """Whether a part is away and waited for."""


class Stalls:
    """Remembers since when each check holds.

    Args:
        patience_s: how long a check may hold.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[Hashable, tuple[Hashable, float]] = {}

    def judge(self, sight: Sight, now: float) -> tuple[str, ...]:
        """What has stalled, a sentence each; `now` in seconds of a clock that is never set."""
        held: dict[Hashable, tuple[Hashable, float]] = {}
        causes: list[str] = []
        for check, unmoved, told in _checks(sight):
            before = self._since.get(check)
            since = before[1] if before is not None and before[0] == unmoved else now
            held[check] = (unmoved, since)
            if now - since >= self._patience_s:
                causes.append(f"{told} for {now - since:.0f} s")
        self._since = held
        return tuple(causes)


def _checks(sight: Sight) -> list[tuple[Hashable, Hashable, str]]:
    """Each check that holds now: its name, what should move, and what to say of it."""
    found: list[tuple[Hashable, Hashable, str]] = []
    if sight.is_run_overdue:
        found.append(("run", None, "a run of the model has not ended"))
    if sight.is_thread_silent:
        found.append(("thread", None, "the consumer's thread has not answered"))
    if sight.is_waiting:
        return found
    if sight.is_rebalancing:
        if sight.ends:
            found.append(("rebalance", None, "a rebalance has not ended"))
        return found
    found += _of_agent(sight)
    for place, each in sight.standings.items():
        name = f"{place.topic}[{place.partition}]"
        end, position = sight.ends.get(place), each.position
        behind = end is not None and position is not None and position < end
        if behind and each.undone_from is None and not sight.is_full:
            told = f"{name}: records wait from offset {position} on, and none has been fetched"
            found.append((("fetch", place), (sight.assignment, position), told))
        if each.is_uncommitted and sight.ends:
            told = f"{name}: what is done has not been committed"
            found.append((("commit", place), (sight.assignment, sight.commits), told))
    return found


def _of_agent(sight: Sight) -> list[tuple[Hashable, Hashable, str]]:
    found: list[tuple[Hashable, Hashable, str]] = []
    for place, each in sight.standings.items():
        if (taken := each.taken_from) is not None:
            told = (
                f"{place.topic}[{place.partition}]: the records from offset {taken} on have been "
                "in work"
            )
            found.append((("work", place), (sight.assignment, taken, sight.endings), told))
    if found:
        return found
    undone = {place: each.undone_from for place, each in sight.standings.items()}
    if any(first is not None for first in undone.values()):
        unmoved = (sight.assignment, sight.endings, tuple(sorted(undone.items())))
        found.append(("agent", unmoved, "records wait, and none has been taken into work"))
    return found
