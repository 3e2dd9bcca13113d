"""What it costs to name the items that contributed to a list, and how true what costs no run is.

    python -m benchmarks.explanations events.parquet items.jsonl --bundle BUNDLE --json

In one process, on a real Valkey and without Kafka: past events go into profiles and shared counts,
and each of the newest users gets a list as of the last event, once for each value of
``NEXTCLICK_EXPLAIN``. ``us_per_list`` is processor time of all threads, candidates, network and
encoding included, the best of three; ``bytes_per_list`` is JSON.

The agreement is that of the item that a list names first with what the score loses without each
item of the profile, all of them removed one by one: how often it falls without the one named, how
often that is among the three without which it falls most, or the first of them, and the median of
the amount claimed to the one lost. By what gave the reason: a source, or, of the network's own, the
code.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import machine
from benchmarks.printed import print_figures
from model.events import INTERACTION_KINDS, Event
from serving.contributions import MOST_NAMED, contributions
from serving.leave_one_out import every_item, losses, owed_to, rows_listed
from serving.list_request import RequestTable
from serving.parts import Parts
from serving.reasons import Explain
from serving.recommend import Outcome, Prepared, decide, request_now
from serving.recommendation import Recommendation, Recommended
from serving.why import FitsLast, code_of
from stream.catalogue_files import read_items
from stream.embedded_redis import EmbeddedRedis
from stream.replay.build import build
from stream.replay.event_past import EventPast
from stream.replay.file_past import FilePast
from stream.rows import BadRow
from stream.settings import Settings
from stream.worker import build_parts

MODES: tuple[Explain, ...] = ("off", "cheap", "leave_one_out")
ROUNDS = 3
AT_ONCE = 16
"""Users whose items are all removed in one go."""


def refuse(row: BadRow) -> None:
    """Bad data would make bad figures."""
    raise SystemExit(str(row))


async def opened(asked: argparse.Namespace, url: str) -> tuple[Parts, list[Event]]:
    """Parts that have learnt all events, and the events in the order of time."""
    parts = build_parts(Settings(bundle=asked.bundle, provider="cpu", redis_url=url))
    for item in read_items([asked.items], refuse):
        parts.catalog.put(item)
    with TemporaryDirectory() as folder:
        past = FilePast([asked.events], refuse, folder=Path(folder))
        events = [each.event for batch in past.batches({}) for each in batch.decoded]
    await parts.store.open()
    await build(parts, EventPast("log", events), {})
    await parts.candidates.refresh_popular()
    return replace(parts, now_ms=lambda: events[-1].time), events


def newest_users(events: Sequence[Event], most: int) -> list[str]:
    """Those who were there last."""
    deeds = (each.user_id for each in reversed(events) if type(each) in INTERACTION_KINDS)
    return list(dict.fromkeys(deeds))[:most]


async def made(parts: Parts, requests: RequestTable, explain: Explain) -> tuple[Outcome, float]:
    """The lists of one micro-batch, and processor seconds."""
    parts = replace(parts, telling=parts.telling._replace(explain=explain))
    start = time.process_time()
    candidates = await parts.candidates.gather(requests)
    outcome = await decide(parts, Prepared(requests, candidates, [], {}))
    assert outcome.encoded_lists
    return outcome, time.process_time() - start


def claim(item: Recommended) -> tuple[str, str, float] | None:
    """What gave the reason, the item that is named first, and its amount; None where none is."""
    assert item.why is not None
    kind = item.sources[0] if item.sources[0] != "nearest" else code_of(type(item.why))
    if item.contributions:
        return kind, item.contributions[0].item_id, item.contributions[0].amount
    return (kind, item.why.item_id, float("nan")) if isinstance(item.why, FitsLast) else None


async def really_lost(
    parts: Parts, requests: RequestTable, lists: Sequence[Recommendation]
) -> list[dict[str, float]]:
    """Of each item of all lists: what its score loses, by the item that was removed."""
    found: list[dict[str, float]] = []
    for start in range(0, len(lists), AT_ONCE):
        some = RequestTable(requests[start : start + AT_ONCE])
        listed = rows_listed(parts, [each.items for each in lists[start : start + AT_ONCE]])
        removals = every_item(some)
        lost = await losses(parts, some, listed, removals)
        every = contributions(owed_to(parts, removals, lost), listed.size, parts.catalog, most=1000)
        found += [
            {each.item_id: each.amount for each in one}
            for one, row in zip(every, listed.ravel().tolist(), strict=True)
            if row >= 0
        ]
    return found


def agreement(items: Sequence[Recommended], lost: Sequence[dict[str, float]]) -> dict[str, Any]:
    """How true what the items name is."""
    kinds: dict[str, list[tuple[bool, bool, bool]]] = {}
    ratios: dict[str, list[float]] = {}
    for item, really in zip(items, lost, strict=True):
        if (said := claim(item)) is not None:
            kind, named, amount = said
            order = list(really)
            kinds.setdefault(kind, []).append(
                (named in really, named in order[:MOST_NAMED], order[:1] == [named])
            )
            if named in really and amount == amount:
                ratios.setdefault(kind, []).append(amount / really[named])
    return {
        kind: {
            "items": len(seen),
            **{
                name: round(sum(each) / len(seen), 3)
                for name, each in zip(
                    ("falls", "among_the_three", "the_first"), zip(*seen, strict=True), strict=True
                )
            },
            "claimed_to_lost": round(median(ratios[kind]), 3) if kind in ratios else None,
        }
        for kind, seen in kinds.items()
    }


async def measure(asked: argparse.Namespace, url: str) -> dict[str, Any]:
    """All figures."""
    parts, events = await opened(asked, url)
    try:
        users = newest_users(events, asked.users)
        requests = RequestTable([await request_now(parts, user, None, {}) for user in users])
        best: dict[Explain, float] = {}
        lists: dict[Explain, Outcome] = {}
        for mode in MODES * ROUNDS:
            lists[mode], spent = await made(parts, requests, mode)
            best[mode] = min(spent, best.get(mode, spent))
        lost = await really_lost(parts, requests, lists["cheap"].lists)
    finally:
        await parts.store.redis.aclose()
    items = {mode: [each for one in found.lists for each in one.items]
             for mode, found in lists.items()}  # fmt: skip
    return {
        "us_per_list": {mode: round(best[mode] * 1e6 / len(users), 1) for mode in MODES},
        "bytes_per_list": {
            mode: round(sum(map(len, lists[mode].encoded_lists)) / len(users)) for mode in MODES
        },
        "contributions_per_item": {
            mode: round(sum(len(each.contributions) for each in found) / len(found), 2)
            for mode, found in items.items()
        },
        "agreement": {mode: agreement(items[mode], lost) for mode in MODES[1:]},
        "users": len(users),
        "events": len(events),
        "machine": machine(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with EmbeddedRedis() as redis:
        figures = asyncio.run(measure(asked, redis.url))
    print_figures("explanations", figures, None)


if __name__ == "__main__":
    main()
