"""Where the time of one event goes: each step of the path, and each kind of trip to Redis.

    python -m benchmarks.path_profile --json [--events 5120] [--batch 256] [--users 5000]

In one process, on a real Valkey and without Kafka: micro-batches of clicks of users with a past go
through ``serving.recommend.recommend``, their lists are encoded and kept as last ones. Nothing
overlaps here, so that all processor time of a step is its own. Of each step and trip microseconds
per event: ``wall_us``, ``client_us`` (processor time of this process, of all its threads) and, of
trips, ``server_us`` (processor time of the server); the rest of the wall time was spent waiting,
for the server or for a processor. ``other`` is what lies between the steps.

What is cached for seconds ages by the events that went by, as if ``--pace`` of them came a second,
so that a slow machine does not read more. The model is the pinned one of ``benchmarks.pinned``.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import psutil

from benchmarks.backlog import Crowd, fill_profiles
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT, item_ids
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from model.events import Click, encode_event
from model.items import Item
from serving import candidates
from serving import recommend as path
from serving.parts import Parts
from serving.recommendation import encode_recommendation
from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings
from stream.worker import build_parts
from tests.parts import FakeRecord

PARTITIONS = 4


@dataclass
class Spent:
    """What steps or trips of one kind have taken, seconds."""

    wall: float = 0.0
    client: float = 0.0
    server: float = 0.0
    times: int = 0

    def per_event(self, events: int, *, is_trip: bool) -> dict[str, float]:
        """Microseconds and calls per event."""
        figures = {"wall_us": self.wall * 1e6 / events, "client_us": self.client * 1e6 / events}
        if is_trip:
            figures |= {"server_us": self.server * 1e6 / events, "calls": self.times / events}
        return {name: round(value, 3) for name, value in figures.items()}


class Clock:
    """Takes the time of steps and of trips."""

    def __init__(self, server: int) -> None:
        # Nanoseconds of its main thread, which does all that a server does for a command.
        self._server = Path(f"/proc/{server}/schedstat")
        self.steps: defaultdict[str, Spent] = defaultdict(Spent)
        self.trips: defaultdict[str, Spent] = defaultdict(Spent)
        self.now_s = 0.0
        """What caches take for the present."""

    def server_s(self) -> float:
        """Processor time of the server so far."""
        return int(self._server.read_text().split()[0]) / 1e9

    @contextmanager
    def step(self, steps: dict[str, float], name: str) -> Iterator[None]:
        """In place of the path's own stop-watch."""
        wall, client = time.perf_counter(), time.process_time()
        yield
        steps[name] = time.perf_counter() - wall
        spent = self.steps[name]
        spent.wall += steps[name]
        spent.client += time.process_time() - client
        spent.times += 1

    def watch(self, parts: Parts) -> None:
        """Have the trips of a worker's store timed, by the function that they call."""
        run = parts.store.run

        async def timed(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
            if not calls:
                return await run(calls)
            server, wall, client = self.server_s(), time.perf_counter(), time.process_time()
            replies = await run(calls)
            spent = self.trips[calls[0][0]]
            spent.wall += time.perf_counter() - wall
            spent.client += time.process_time() - client
            spent.server += self.server_s() - server
            spent.times += len(calls)
            return replies

        setattr(parts.store, "run", timed)  # noqa: B010 (mypy: no assignment to a method)


def records_of(crowd: Crowd, count: int, first: int) -> list[FakeRecord]:
    """Clicks of this moment, as Kafka would hand them over."""
    now = time.time_ns() // 1_000_000
    made: list[FakeRecord] = []
    for number, (user, item) in enumerate(crowd.clicks(count, first=first), start=first):
        event = Click(event_id=f"event-{number}", user_id=user, ts=now, item_id=item)
        partition = crc32(user.encode()) % PARTITIONS
        made.append(FakeRecord(encode_event(event), number, user.encode(), partition=partition))
    return made


async def serve(
    parts: Parts, clock: Clock, records: Sequence[FakeRecord], asked: argparse.Namespace
) -> int:
    """Bring all records to their end; returns how many lists that made."""
    lists, batch = 0, asked.batch
    for start in range(0, len(records), batch):
        clock.now_s += batch / asked.pace
        outcome = await path.recommend(parts, records[start : start + batch])
        with clock.step({}, "encode"):
            encoded = [encode_recommendation(each) for each in outcome.lists]
        with clock.step({}, "keep"):
            await parts.store.keep(outcome.lists, encoded)
        lists += len(outcome.lists)
    return lists


async def measure(asked: argparse.Namespace, url: str, server: int) -> dict[str, Any]:
    """Warm up with half as many events, and measure."""
    settings = Settings(
        bundle=pinned_bundle(asked.items), provider="cpu", redis_url=url,
        rules=asked.rules, diversity=asked.diversity,
    )  # fmt: skip
    crowd = Crowd(asked.users, asked.items)
    fill_profiles(settings, crowd)
    parts = build_parts(settings)
    for number, each in enumerate(item_ids(asked.items)):
        parts.catalog.put(_item(each, number))
    clock = Clock(server)
    setattr(path, "_timed", clock.step)  # noqa: B010
    setattr(candidates, "monotonic", lambda: clock.now_s)  # noqa: B010
    await parts.store.open()
    try:
        await serve(parts, clock, records_of(crowd, asked.events // 2, 0), asked)
        await parts.candidates.refresh_popular()
        clock.steps.clear()
        clock.watch(parts)
        records = records_of(crowd, asked.events, asked.events // 2)
        wall, client, served = time.perf_counter(), time.process_time(), clock.server_s()
        lists = await serve(parts, clock, records, asked)
        total = Spent(
            time.perf_counter() - wall, time.process_time() - client, clock.server_s() - served
        )
    finally:
        await parts.store.redis.aclose()
    return _figures(asked, clock, total, lists)


def _item(item_id: str, number: int) -> Item:
    """Fifty brands, and what rules may ask for."""
    tags = [tag for tag, every in (("new", 10), ("campaign", 400)) if number % every == 0]
    return Item(
        item_id=item_id, title=item_id, category=("all",), brand=f"brand-{number % 50}",
        price=number % 100, stock=number % 40, tags=tuple(tags),
    )  # fmt: skip


def _figures(asked: argparse.Namespace, clock: Clock, total: Spent, lists: int) -> dict[str, Any]:
    model, steps = clock.steps["rank"], clock.steps.values()
    clock.steps["other"] = Spent(
        total.wall - sum(each.wall for each in steps),
        total.client - sum(each.client for each in steps),
    )
    beside = (total.client - model.client) / max(lists, 1)
    return {
        "client_us_beside_rank_per_list": round(beside * 1e6, 1),
        "rank_share_of_client": round(model.client / total.client, 3),
        "total": total.per_event(asked.events, is_trip=False)
        | {"server_us": round(total.server * 1e6 / asked.events, 1)},
        "steps": {
            name: spent.per_event(asked.events, is_trip=False)
            | {"share_of_client": round(spent.client / total.client, 3)}
            for name, spent in clock.steps.items()
        },
        "trips": {
            name: spent.per_event(asked.events, is_trip=True) for name, spent in clock.trips.items()
        },
        "events": asked.events,
        "lists": lists,
        "batch": asked.batch,
        "users": asked.users,
        "items": asked.items,
        "pace": asked.pace,
        "rules": asked.rules and str(asked.rules),
        "diversity": asked.diversity,
        "machine": machine(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_120)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--pace", type=float, default=4_000.0)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--rules", type=Path, help="such as benchmarks/rules.toml")
    parser.add_argument("--diversity", type=float, help="strength, from 0 to 1")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with EmbeddedRedis() as redis:
        (server,) = psutil.Process(redis.pid).children()
        figures = asyncio.run(measure(asked, redis.url, server.pid))
    print_figures("path_profile", figures, None)


if __name__ == "__main__":
    main()
