"""A build in a process of its own, which is killed, of a made-up log: a line of output before each
trip to Redis, which waits for a line of input.

python -m tests.building_process REDIS_URL EVENTS SEED
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from typing import Any

from model.events import Event
from serving.store import Store
from stream.embedded import say
from stream.replay import build as build_room
from stream.replay import build_state
from stream.replay.build import build
from stream.replay.event_past import EventPast
from stream.replay.past import Position
from tests.parts import open_parts
from tests.past_logs import past_log

KEPT = "kept"


def killed_log(size: int, seed: int) -> Sequence[Event]:
    """What is built."""
    return past_log(random.Random(seed), size, late_minutes=30)


class TellingStore(Store):
    """Tells of each trip, and waits for leave."""

    async def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        say("trip")
        sys.stdin.readline()
        return await super().run(calls)


async def run(url: str, size: int, seed: int) -> None:
    """Go on where the one before was killed."""
    build_room.MOST_EVENTS = max(size // 12, 100)
    build_state.LEASE_MS = 200
    log = killed_log(size, seed)
    async with open_parts(url, kind=TellingStore) as parts:
        redis = parts.store.redis

        async def keep(position: Position) -> None:
            await redis.set(KEPT, position["log"])

        done = int(await redis.get(KEPT) or 0)
        batch = max(size // 50, 50)
        await build(parts, EventPast("log", log, batch=batch), {"log": done}, keep=keep)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
