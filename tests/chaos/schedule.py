"""Which faults come when: seeded, in bursts that overlap, spread over the run by its progress."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SESSION_S = 10.0
"""A worker that was silent for that long has lost its partitions."""


class Kind(StrEnum):
    """What goes wrong."""

    KILL_WORKER = "SIGKILL of a worker"
    KILL_REDIS = "kill -9 of Redis"
    KILL_BROKER = "kill -9 of the broker"
    PAUSE = "SIGSTOP within the session"
    LONG_PAUSE = "SIGSTOP past the session"
    JOIN = "a worker joins"
    LEAVE = "a worker leaves"
    CUT_REDIS = "connections to Redis cut"
    STALL_REDIS = "connections to Redis stalled"
    CUT_BROKER = "connections to the broker cut"
    STALL_BROKER = "connections to the broker stalled"
    BROKER_OUTAGE = "the broker is away"


SHARES = {
    Kind.KILL_WORKER: 0.31,
    Kind.KILL_REDIS: 0.105,
    Kind.KILL_BROKER: 0.055,
    Kind.PAUSE: 0.10,
    Kind.LONG_PAUSE: 0.07,
    Kind.JOIN: 0.06,
    Kind.LEAVE: 0.06,
    Kind.CUT_REDIS: 0.08,
    Kind.STALL_REDIS: 0.05,
    Kind.CUT_BROKER: 0.07,
    Kind.STALL_BROKER: 0.04,
}
"""Of Apache Kafka and Redis: of 200 faults at least 60, 20 and 10 of the first three kinds."""

EMBEDDED_STAND_INS = {
    Kind.KILL_BROKER: Kind.BROKER_OUTAGE,
    Kind.CUT_BROKER: Kind.BROKER_OUTAGE,
    Kind.STALL_BROKER: Kind.STALL_REDIS,
}
"""The embedded broker keeps all in memory, so it must not die, and no proxy stands before it."""

SECONDS = {
    Kind.PAUSE: (1.0, 6.0),
    Kind.LONG_PAUSE: (SESSION_S + 1.5, SESSION_S + 5.0),
    Kind.STALL_REDIS: (0.5, 7.0),
    Kind.STALL_BROKER: (0.5, 7.0),
    Kind.BROKER_OUTAGE: (0.2, 3.0),
}
"""How long it lasts; the other kinds are over at once."""

BURST = 10
"""Faults that come together at most: seconds apart, so that they meet each other's repair."""
SPACING_S = 2.0
FIRST, LAST = 0.03, 0.96
"""The share of the events that is done when the first and the last burst come."""


@dataclass(frozen=True)
class Fault:
    """One fault."""

    at: int
    """Events done when its burst begins."""
    delay_s: float
    """After the begin of its burst."""
    kind: Kind
    seconds: float
    """How long it lasts; 0 where it is over at once."""
    choice: float
    """Which worker it hits, from 0 to 1."""


def schedule(faults: int, events: int, seed: int, *, embedded: bool) -> list[Fault]:
    """The faults of a run, in the order in which they come.

    Leaves and joins alternate, so that the number of workers stays between two values.
    """
    rng = random.Random(f"faults {seed}")
    kinds = _kinds(faults, embedded)
    rng.shuffle(kinds)
    turns = [at for at, kind in enumerate(kinds) if kind in (Kind.JOIN, Kind.LEAVE)]
    for nth, at in enumerate(turns):
        kinds[at] = Kind.JOIN if nth % 2 else Kind.LEAVE
    bursts: list[list[Kind]] = []
    while kinds:
        size = rng.randint(1, BURST)
        bursts.append(kinds[:size])
        del kinds[:size]
    found = []
    for nth, burst in enumerate(bursts):
        place = (nth + rng.random() * 0.5) / len(bursts)
        delay = 0.0
        for kind in burst:
            found.append(_fault(rng, kind, int(_share(place) * events), delay))
            delay += rng.uniform(0.0, SPACING_S)
    return found


def one_by_one(kinds: Sequence[Kind], events: int, seed: int) -> list[Fault]:
    """These faults in this order, evenly spread, none before the one before it is over."""
    rng = random.Random(f"faults {seed}")
    return [
        _fault(rng, kind, int(_share(nth / len(kinds)) * events), 0.0)
        for nth, kind in enumerate(kinds)
    ]


def _share(place: float) -> float:
    return FIRST + (LAST - FIRST) * place


def _fault(rng: random.Random, kind: Kind, at: int, delay_s: float) -> Fault:
    seconds = rng.uniform(*SECONDS.get(kind, (0.0, 0.0)))
    return Fault(at, delay_s, kind, seconds, rng.random())


def _kinds(faults: int, embedded: bool) -> list[Kind]:
    """So many kinds in proportion to their shares, the rarest not left out where there is room."""
    wanted = sorted(SHARES, key=lambda kind: SHARES[kind], reverse=True)
    counts = {kind: int(faults * SHARES[kind]) for kind in wanted}
    short = faults - sum(counts.values())
    for kind in sorted(wanted, key=lambda kind: counts[kind] - faults * SHARES[kind])[:short]:
        counts[kind] += 1
    return [
        EMBEDDED_STAND_INS.get(kind, kind) if embedded else kind
        for kind, count in counts.items()
        for _ in range(count)
    ]
