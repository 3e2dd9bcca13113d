"""A long run of the worker's path: does its memory stay flat, and Redis within its bounds?

    python -m benchmarks.soak --events 10000000 --users 200000 --json [--folder soak]

``serving.recommend.recommend`` runs on generated records in micro-batches of 256, on a real Valkey
and without a broker in front, which would be the limit. The events are old, so that lists are left
out, as in a replay. With ``--folder`` Redis and progress are kept there: a run that was interrupted
goes on where it was (a new process, so its memory is judged anew). Ctrl-C prints what there is.
"""

import argparse
import asyncio
import gc
import json
import platform
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks.soak_load import BATCH, ITEM_IDS, QUERIES, SoakLoad
from model.items import Item
from serving.counts import MAX_NEIGHBOURS
from serving.parts import Parts
from serving.recommend import recommend
from stream.embedded_redis import EmbeddedRedis
from tests.parts import open_parts

SAMPLES = 200
LEAST_SAMPLES = 10
PROFILE_BOUND = 5_500
"""Bytes of a full profile, its key and its places in the tables of keys and lifetimes."""
SET_BOUND = 5_600
"""Bytes of the rows of an item or a query, likewise, and of the room that is left for more."""
POPULAR_BOUND = 150
"""Bytes of an item's popularity."""
BASE_BYTES = 8 * 2**20
"""A bare Valkey with the functions loaded, its connections and buffers."""
FLAT_GROWTH = 0.01
"""Of the memory, over the second half: what noise may be."""


@dataclass(frozen=True)
class Sample:
    """What was taken after so many events."""

    events: int
    seconds: float
    rss: int
    blocks: int
    """Memory blocks that Python has allocated."""
    redis_bytes: int
    redis_keys: int


@dataclass(frozen=True)
class Slope:
    """Growth of the second half by a straight line, with its 95% confidence interval."""

    per_million: float
    low: float
    high: float

    @classmethod
    def of(cls, events: Sequence[int], values: Sequence[int]) -> "Slope":
        """Least squares over the second half; samples that lean on each other count for fewer."""
        half = len(events) // 2
        x = np.array(events[half:], float) / 1e6
        y = np.array(values[half:], float)
        if len(x) < LEAST_SAMPLES // 2:
            raise ValueError(f"a slope needs {LEAST_SAMPLES} samples")
        slope, start = np.polyfit(x, y, 1)
        rest = y - slope * x - start
        power = float(rest @ rest)
        kin = float(rest[1:] @ rest[:-1]) / power if power else 0.0
        free = max(1.0, len(x) * (1 - max(0.0, kin)) / (1 + max(0.0, kin)) - 2)
        error = np.sqrt(power / free / ((x - x.mean()) ** 2).sum())
        return cls(float(slope), float(slope - 2 * error), float(slope + 2 * error))


class Soak:
    """One run, from the batch where an earlier one has ended."""

    def __init__(self, parts: Parts, load: SoakLoad, first: int, last: int) -> None:
        self._parts = parts
        self._load = load
        self._batches = range(first, last)
        self.done = first
        self.samples: list[Sample] = []
        self.is_stopped = False
        self._process = psutil.Process()

    async def run(self, progress: Progress, checkpoint: Path | None) -> None:
        """All batches, or those before somebody stops it."""
        task = progress.add_task(
            "events", total=self._batches.stop * BATCH, completed=self._batches.start * BATCH
        )
        every = max(1, len(self._batches) // SAMPLES)
        started = time.monotonic()
        for number in self._batches:
            if self.is_stopped:
                break
            outcome = await recommend(self._parts, self._load.batch(number))
            assert not outcome.lists and not outcome.dead_letters
            self.done = number + 1
            if self.done % every == 0:
                await self._sample(time.monotonic() - started)
                progress.update(task, completed=self.done * BATCH)
                self._keep(checkpoint)

    def _keep(self, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            checkpoint.write_text(json.dumps({**asdict(self._load), "batches": self.done}))

    async def _sample(self, seconds: float) -> None:
        gc.collect()
        memory: dict[str, Any] = await self._parts.store.redis.info("memory")
        self.samples.append(
            Sample(
                events=(self.done - self._batches.start) * BATCH,
                seconds=seconds,
                rss=self._process.memory_info().rss,
                blocks=sys.getallocatedblocks(),
                redis_bytes=memory["used_memory"] - memory.get("mem_clients_normal", 0),
                redis_keys=await self._parts.store.redis.dbsize(),
            )
        )


def report(soak: Soak, users: int) -> dict[str, Any]:
    """The figures of a run."""
    samples = soak.samples
    if len(samples) < LEAST_SAMPLES:
        return {"events": samples[-1].events if samples else 0, "samples": len(samples)}
    events, last = [each.events for each in samples], samples[-1]
    rss = Slope.of(events, [each.rss for each in samples])
    blocks = Slope.of(events, [each.blocks for each in samples])
    span = (events[-1] - events[len(events) // 2]) / 1e6
    bound = redis_bound(users)
    return {
        "events": last.events,
        "users": users,
        "events_per_s": round(last.events / last.seconds),
        "rss_mb": round(last.rss / 2**20, 1),
        "rss_slope_mb_per_million": [round(each / 2**20, 3) for each in asdict(rss).values()],
        "rss_is_flat": rss.low <= 0 or rss.per_million * span < FLAT_GROWTH * last.rss,
        "blocks": last.blocks,
        "blocks_slope_per_million": [round(each) for each in asdict(blocks).values()],
        "redis_mb": round(last.redis_bytes / 2**20, 1),
        "redis_bound_mb": round(bound / 2**20, 1),
        "redis_is_bounded": last.redis_bytes <= bound,
        "redis_keys": last.redis_keys,
        "series": [
            [each.events, round(each.rss / 2**20, 1), each.blocks,
             round(each.redis_bytes / 2**20, 1), each.redis_keys]
            for each in samples[:: max(1, len(samples) // 20)]
        ],
        "max_neighbours": MAX_NEIGHBOURS,
        "machine": f"{psutil.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def redis_bound(users: int) -> int:
    """What Redis may take at most, bytes: no run however long needs more."""
    sets = len(ITEM_IDS) + len(QUERIES)
    profiles = users * PROFILE_BOUND
    return BASE_BYTES + profiles + sets * SET_BOUND + len(ITEM_IDS) * POPULAR_BOUND


async def measure(asked: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Run, or go on with a run."""
    load = SoakLoad(asked.users, asked.seed)
    folder: Path | None = asked.folder
    checkpoint = None if folder is None else folder / "progress.json"
    first = _batches_done(checkpoint, load)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(EmbeddedRedis(directory=folder, appendonly=folder is not None))
        items = [Item(item_id=each, title=each, category=("all",)) for each in ITEM_IDS]
        parts = await stack.enter_async_context(open_parts(server.url, items))
        soak = Soak(parts, load, first, -(-asked.events // BATCH))
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGINT, lambda: setattr(soak, "is_stopped", True)
        )
        await soak.run(progress, checkpoint)
        return {**report(soak, asked.users), "first_event": first * BATCH, "seed": asked.seed}


def _batches_done(checkpoint: Path | None, load: SoakLoad) -> int:
    if checkpoint is None:
        return 0
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        return 0
    found = json.loads(checkpoint.read_text())
    done = int(found.pop("batches"))
    if found != asdict(load):
        raise SystemExit(f"{checkpoint} is of another run ({found}); choose another --folder")
    return done


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keeps Redis and progress")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        figures = asyncio.run(measure(asked, progress))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
