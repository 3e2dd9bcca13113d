"""What a person asks of a replay beside its source, and how it is told before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from stream.replay.lag_gate import MAX_LAG
from stream.replay.pace import Pace
from stream.replay.past import Past
from stream.settings import Settings

Target: TypeAlias = Literal["events", "shadow"]


@dataclass(frozen=True)
class Orders:
    """Where the past goes and how fast; ``None`` leaves a bound to its default."""

    into: Target = "events"
    rate: float | None = None
    speed: float | None = None
    max_lag: int | None = None
    state: Path | None = None
    again: bool = False

    @property
    def lag_bound(self) -> int:
        """Records that the workers may be behind."""
        return MAX_LAG if self.max_lag is None else self.max_lag


def plan(settings: Settings, orders: Orders, past: Past, state: str) -> list[tuple[str, str]]:
    """What will be read and written: a word, and what it is, line by line.

    Args:
        settings: names and addresses.
        orders: what was asked for.
        past: the source.
        state: where the state is kept, and whether it goes on.
    """
    total = past.total()
    lines = _under("reads", past.told())
    lines.append(("records", "counted while they are read" if total is None else f"{total:,}"))
    if orders.into == "shadow":
        lines += _under(
            "writes",
            [
                f"a shadow generation of profiles and counts at {settings.redis_address}, prefix "
                f"`{settings.redis_prefix}`; live ones are left alone, and no list is published",
            ],
        )
        return [*lines, ("state", state)]
    lines += _under(
        "writes",
        [
            f"topic `{settings.events_topic}` at {settings.brokers}, marked as replayed: workers "
            "bring profiles up to date"
            + (", and publish lists" if settings.publish_replayed else " and publish no list")
        ],
    )
    pace = Pace(rate=orders.rate, speed=orders.speed).told()
    bound = (
        f"never more than {orders.lag_bound:,} events ahead of group `{settings.group}`"
        if orders.lag_bound
        else "whatever the workers' lag"
    )
    return [*lines, ("pace", f"{pace}, {bound}"), ("state", state)]


def _under(word: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(word if not number else "", line) for number, line in enumerate(lines)]


def target_of(text: str) -> Target:
    """Raises ValueError where it is none."""
    if text not in get_args(Target):
        raise ValueError(f"{text!r} is no target; write --into events or --into shadow")
    return cast(Target, text)


def number_of(text: str | None, unit: str, option: str) -> float | None:
    """A positive number with or without its unit. Raises ValueError where it is none."""
    if text is None:
        return None
    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise ValueError(f"{option} takes a number above 0, such as 10{unit}, not {text!r}")
    return number
