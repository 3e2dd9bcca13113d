"""One client process of the profile benchmark: merges into profiles, or plain SETs of their bytes,
through the trip that merges take (``set``) or through redis-py's own pipeline (``pipeline``).

    python -m benchmarks.profile_contender merge redis://127.0.0.1:6379/0 --users 5000

Reads one task a line (JSON), prepares it, says so, waits for a line, runs it, and answers with
seconds; ``benchmarks.profiles`` drives it.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client import REGISTRY
from redis.asyncio import Redis

from benchmarks.profile_load import DAY_MS, Load
from serving.merge import ProfileUpdate
from serving.round_trip import Acknowledgement, Command, round_trip
from serving.store import Store

TTL_MS = 30 * DAY_MS
FILL_DEPTH = 250


def open_store(url: str, prefix: str, cached: int = 8_192) -> Store:
    """A store with the time-outs that a worker has, and so many profiles in hand."""
    redis = Redis.from_url(url, protocol=2, socket_timeout=5.0, socket_connect_timeout=5.0)
    return Store(
        redis, prefix=prefix, profile_ttl_ms=TTL_MS, list_ttl_ms=3 * DAY_MS, cached_profiles=cached
    )


async def fill(store: Store, load: Load) -> None:
    """Write each user's full profile, as a merge would have left it."""
    commands: list[Command] = [
        ("SET", store.keys(each.user_id).profile, each.profile.pack(), "PX", TTL_MS)
        for each in load.shoppers
    ]
    for start in range(0, len(commands), FILL_DEPTH):
        await round_trip(store.redis, commands[start : start + FILL_DEPTH], Acknowledgement())


async def drive(
    trips: Sequence[Any], in_flight: int, run: Callable[[Any], Awaitable[object]]
) -> dict[str, float]:
    """Run all trips, so many at a time; seconds of the clock and of this process's CPU."""
    waiting = iter(trips)

    async def one_after_the_other() -> None:
        for trip in waiting:
            await run(trip)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}


class Contender:
    """Runs rounds of one kind; the users keep what earlier rounds brought them."""

    def __init__(self, kind: str, store: Store, load: Load) -> None:
        self._kind = kind
        self._store = store
        self._load = load
        self._values = {
            shopper.user_id: bytes(bytearray(shopper.profile.pack())) for shopper in load.shoppers
        }

    async def round(
        self, *, updates: int, depth: int, in_flight: int, ttl: bool
    ) -> Callable[[], Awaitable[dict[str, float]]]:
        """Prepare a round; what comes back runs it."""
        prepared = self._load.updates(updates)
        if self._kind == "merge":
            batches = [prepared[at : at + depth] for at in range(0, updates, depth)]
            return lambda: drive(batches, in_flight, self._store.merge)
        commands = [self._set(update, ttl) for update in prepared]
        trips = [commands[at : at + depth] for at in range(0, updates, depth)]
        run = self._pipeline if self._kind == "pipeline" else self._trip
        return lambda: drive(trips, in_flight, run)

    def _set(self, update: ProfileUpdate, ttl: bool) -> Command:
        user = str(update.user)
        command = "SET", self._store.keys(user).profile, self._values[user]
        return (*command, "PX", TTL_MS) if ttl else command

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        redis = self._store.redis
        assert isinstance(redis, Redis)
        async with redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

    async def _trip(self, commands: Sequence[Command]) -> list[Any]:
        replies = await round_trip(self._store.redis, commands, Acknowledgement())
        failed = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if failed is not None:
            raise failed
        return replies


async def serve(kind: str, url: str, users: int, number: int, cached: int) -> None:
    """Fill the server, then run what standard input asks for."""
    store = open_store(url, f"{kind}{number}", cached)
    await store.open()
    load = Load(users, prefix=f"shopper-{number}", seed=number)
    await fill(store, load)
    contender = Contender(kind, store, load)
    say({"users": users, "catalogue": load.catalogue})
    for line in sys.stdin:
        start = await contender.round(**json.loads(line))
        say({"ready": True})
        sys.stdin.readline()
        before = held()
        seconds = await start()
        say({**seconds, "held": held() - before})
    await store.redis.aclose()


def held() -> float:
    """Merges so far for which no stored profile was needed."""
    return REGISTRY.get_sample_value("nextclick_merges_total", {"profile": "held"}) or 0.0


def say(fact: dict[str, Any]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve tasks until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("merge", "set", "pipeline"))
    parser.add_argument("url")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--cached", type=int, default=8_192)
    asked = parser.parse_args()
    asyncio.run(serve(asked.kind, asked.url, asked.users, asked.number, asked.cached))


if __name__ == "__main__":
    main()
