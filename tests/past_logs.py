"""Made-up logs of the past, and what a build or the live path has left of them in Redis."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from model.events import Cart, Click, Context, Event, Forget, Identify, Purchase, Search, User
from serving.count_rows import added_up
from serving.learning import learn
from serving.merge import StoredProfile
from serving.parts import Parts
from stream.replay.event_past import EventPast
from stream.replay.past import Position
from tests.parts import MINUTE_MS, NOW

Weights = dict[bytes, dict[bytes | int, float]]
USERS = 12


class KeptPosition:
    """Where a build stands, as its caller stores it."""

    def __init__(self) -> None:
        self.position: Position = {}

    async def keep(self, position: Position) -> None:
        """Store it."""
        self.position = position


def past_log(
    rng: random.Random, size: int, *, late_minutes: int = 0, identified: bool = False
) -> list[Event]:
    """Clicks, purchases, searches and more of a few users, a day and a half long.

    Some events come twice, and some late, if asked for. Where visitors are identified, those of odd
    numbers are the users before them, and some users are forgotten.
    """
    log: list[Event] = []
    step = 36 * 60 * MINUTE_MS // size
    for at in range(size):
        ts = NOW - (size - at) * step
        if late_minutes and rng.random() < 0.3:
            ts -= rng.randrange(late_minutes * MINUTE_MS)
        number, item = rng.randrange(USERS), f"i{rng.randrange(30)}"
        # Baskets have one time.
        common: dict[str, Any] = {"event_id": f"e{at}", "user_id": f"u{number}"}
        common["ts"] = ts - ts % (5 * MINUTE_MS) if rng.random() < 0.5 else ts
        if rng.random() < 0.3:
            common["context"] = Context(country=rng.choice(["de", "fr"]), device=rng.choice("ab"))
        die = rng.random()
        if die < 0.03 and identified and number % 2 == 0:
            log.append(Identify(**common, anonymous_id=f"u{number + 1}"))
        elif die < 0.04 and identified and number % 2 == 0:
            log.append(Forget(**common))
        elif die < 0.1:
            log.append(User(**common, attributes={rng.choice("abcdefghijk"): rng.randrange(9)}))
        elif die < 0.3:
            log.append(Search(**common, query=f"q{rng.randrange(8)}"))
        elif die < 0.5:
            log.append(Purchase(**common, item_id=item, quantity=2))
        elif die < 0.55:
            log.append(Cart(**common, item_id=item, price=3))
        elif die < 0.6 and log and not identified:
            log.append(rng.choice(log))
        else:
            log.append(Click(**common, item_id=item))
    return log


async def live_through(parts: Parts, events: Sequence[Event], *, at_once: int = 1) -> None:
    """Learn the events as a worker does."""
    for batch in EventPast("log", events).batches({}):
        for start in range(0, len(batch.decoded), at_once):
            await learn(parts, batch.decoded[start : start + at_once])


async def profiles_in(parts: Parts) -> dict[str, StoredProfile]:
    """Of all users of a log."""
    users = [f"u{number}" for number in range(USERS + 1)]
    return dict(zip(users, await parts.store.read(users), strict=True))


async def counts_in(parts: Parts) -> Weights:
    """Every set of the shared counts, by key and member."""
    redis: Any = parts.store.redis
    found: Weights = {}
    for key in sorted(await redis.keys("*:count:*")):
        match await redis.type(key):
            case b"zset":
                found[key] = dict(await redis.zrange(key, 0, -1, withscores=True))
            case b"string":
                rows = added_up([await redis.get(key)])
                found[key] = dict(zip(rows.items.tolist(), rows.weights.tolist(), strict=True))
    return found


def are_equal(one: Weights, other: Weights) -> bool:
    """Whether two counts have the same sets with the same members, and weights but for rounding."""
    assert one.keys() == other.keys()
    for key, weights in one.items():
        assert other[key] == pytest.approx(weights, rel=1e-9)
    return True
