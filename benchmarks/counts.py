"""Shared counts of a real log: what pruning costs, what they take, how fast they are learnt.

    python -m benchmarks.counts --json [--events 300000]

The first purchases of the Complete Journey, each basket's first one behind a search for it, go
through ``serving.learning.learn`` in micro-batches on a real Valkey. Then each item's neighbours,
popularity, and what is chosen after a query are compared with an oracle that keeps every pair.
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress

from benchmarks.count_oracle import Deed, Strongest, after_queries, neighbours, popularity
from model.events import Purchase, Search
from model.journey import load_items, load_purchases
from serving.counts import MAX_NEIGHBOURS, Counts, Neighbours
from serving.intake import Decoded
from serving.learning import learn
from serving.parts import Parts
from serving.profile import cut_query
from stream.embedded_redis import EmbeddedRedis
from tests.parts import DAY_MS, MINUTE_MS, FakeRecord, open_parts

TOP = 20
BATCH = 256
ROUNDING = 1e-9
MOST_AT_ONCE = 45
"""Lines of one household on a day: of more than 100 within minutes, which is what a profile holds,
the oldest are not admitted, and the oracle knows nothing of that."""


def journey_log(size: int) -> list[Deed]:
    """The first purchases in time, so many events with the searches before them.

    Shopping days of more than ``MOST_AT_ONCE`` lines are cut.
    """
    log = load_purchases()
    titles = {item.item_id: item.title for item in load_items()}
    events: list[Deed] = []
    asked: set[tuple[int, int]] = set()
    lines: Counter[tuple[int, int]] = Counter()
    for row in np.argsort(log.times, kind="stable").tolist():
        if len(events) >= size:
            break
        user, ts = int(log.users[row]), int(log.times[row])
        lines[user, ts // DAY_MS] += 1
        if lines[user, ts // DAY_MS] > MOST_AT_ONCE:
            continue
        user_id, item_id = log.user_ids[user], log.item_ids[log.items[row]]
        if (user, ts) not in asked:
            asked.add((user, ts))
            # Spelt as counts know it: two titles that differ in case alone are one query.
            query = cut_query(" ".join(titles.get(item_id, item_id).casefold().split())).decode()
            at = ts - MINUTE_MS
            events.append(Search(event_id=f"search-{row}", user_id=user_id, ts=at, query=query))
        events.append(Purchase(event_id=f"line-{row}", user_id=user_id, ts=ts, item_id=item_id))
    return sorted(events[:size], key=lambda event: event.time)


async def learn_log(parts: Parts, log: Sequence[Deed], progress: Progress) -> dict[str, float]:
    """Learn all events; events a second, and the processor's share of this process in it."""
    task = progress.add_task("learn", total=len(log))
    spent, cpu = 0.0, time.process_time()
    for start in range(0, len(log), BATCH):
        decoded = [
            Decoded(FakeRecord(None, offset), event)
            for offset, event in enumerate(log[start : start + BATCH], start)
        ]
        began = time.perf_counter()
        await learn(parts, decoded)
        spent += time.perf_counter() - began
        progress.advance(task, len(decoded))
    return {
        "events_per_s": round(len(log) / spent),
        "client_us_per_event": round((time.process_time() - cpu) / len(log) * 1e6, 1),
    }


def share_kept(kept: Neighbours, oracle: Strongest) -> float:
    """The share of the oracle's top 20 in the kept top 20; those of equal weight are as good."""
    most = min(TOP, len(oracle.items))
    least = oracle.weights[most - 1] * (1 - ROUNDING)
    good = oracle.items[oracle.weights >= least]
    return float(np.isin(kept.items[:TOP], good).sum()) / most


def largest_difference(stored: dict[int, float], expected: dict[int, float]) -> float:
    """The largest relative difference of two sets of weights; 1 where one lacks an item."""
    if stored.keys() != expected.keys():
        return 1.0
    return max((abs(stored[item] / expected[item] - 1) for item in expected), default=0.0)


def _weights(each: Neighbours | Strongest) -> dict[int, float]:
    return dict(zip(each.items.tolist(), each.weights.tolist(), strict=True))


async def quality(counts: Counts, log: Sequence[Deed]) -> dict[str, Any]:
    """The shared counts beside the oracle's."""
    oracle = neighbours(log, counts.weight)
    items = list(oracle)
    kept: list[Neighbours] = []
    for start in range(0, len(items), 500):
        kept += await counts.neighbours(items[start : start + 500], most=2 * MAX_NEIGHBOURS)
    shares = np.array([share_kept(k, oracle[i]) for i, k in zip(items, kept, strict=True)])
    pruned = np.array([len(oracle[item].items) >= 2 * MAX_NEIGHBOURS for item in items])
    above_need = [at for at in range(len(items)) if not pruned[at]]
    expected = after_queries(log, counts.weight)
    few = [query for query, chosen in expected.items() if len(chosen) < 2 * MAX_NEIGHBOURS]
    chosen = await counts.chosen_after(few, most=2 * MAX_NEIGHBOURS)
    return {
        "top_20_kept": round(float(shares.mean()), 5),
        "top_20_kept_of_pruned": round(float(shares[pruned].mean()), 5) if pruned.any() else None,
        "top_20_kept_of_unpruned": round(float(shares[~pruned].mean()), 5),
        "worst_top_20_kept": round(float(shares.min()), 3),
        "items": len(items),
        "pruned_items": int(pruned.sum()),
        "largest_difference": {
            "neighbours_of_unpruned": max(
                (largest_difference(_weights(kept[at]), _weights(oracle[items[at]]))
                 for at in above_need), default=0.0,
            ),
            "popularity": largest_difference(
                _weights(await counts.popular()), popularity(log, counts.weight)
            ),
            "after_query": max(
                largest_difference(_weights(stored), expected[query])
                for query, stored in zip(few, chosen, strict=True)
            ),
        },
        "queries": len(few),
    }  # fmt: skip


async def memory(counts: Counts, parts: Parts) -> dict[str, Any]:
    """``MEMORY USAGE`` of each kind of key."""
    redis = parts.store.redis
    sizes: dict[str, list[int]] = {"with": [], "after": [], "popular": [], "offsets": []}
    keys = [key.decode() async for key in redis.scan_iter(match="*:count:*", count=1000)]
    for start in range(0, len(keys), 1000):
        some = keys[start : start + 1000]
        pipeline = redis.pipeline(transaction=False)
        for key in some:
            pipeline.memory_usage(key, samples=0)
        for key, usage in zip(some, await pipeline.execute(), strict=True):
            sizes[key.split("}:")[1].split(":")[0]].append(usage)
    item_bytes, query_bytes = np.array(sizes["with"]), np.array(sizes["after"])
    return {
        "bytes_per_item": round(float(item_bytes.mean())),
        "most_bytes_of_an_item": int(item_bytes.max()),
        "bytes_per_query": round(float(query_bytes.mean())),
        "neighbours_mb": round(item_bytes.sum() / 2**20, 1),
        "queries_mb": round(query_bytes.sum() / 2**20, 1),
        "popularity_mb": round(sum(sizes["popular"]) / 2**20, 2),
    }


async def measure(asked: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Learn, compare, weigh."""
    log = journey_log(asked.events)
    with EmbeddedRedis() as server:
        async with open_parts(server.url) as parts:
            speed = await learn_log(parts, log, progress)
            return {
                **speed,
                **await quality(parts.counts, log),
                **await memory(parts.counts, parts),
                "max_neighbours": MAX_NEIGHBOURS,
                "kept_per_item": 2 * MAX_NEIGHBOURS,
                "events": len(log),
                "users": len({event.user_id for event in log}),
                "machine": f"{psutil.cpu_count()} cores, {platform.machine()}",
            }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with Progress(console=Console(stderr=True)) as progress:
        figures = asyncio.run(measure(asked, progress))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
