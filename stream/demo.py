"""``make demo``: the whole job on a real shop log, on this machine, ended by a table."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from model.bundle import BundleError, Manifest, load_bundle
from model.dataset import EventLog
from model.events import Event
from model.items import Item, encode_item
from serving.parts import Parts
from stream.cluster import LocalCluster, terminable
from stream.demo_lists import ListWatch
from stream.demo_log import (
    REPLAY_FROM,
    DemoEvents,
    demo_events,
    newest_purchases,
    purchases_by_time,
)
from stream.demo_report import DemoFigures, print_report
from stream.ingest import ingest
from stream.replay.build import build
from stream.replay.event_past import EventPast
from stream.replay.pace import Pace
from stream.replay.past import ReplayError
from stream.replay.progress import ReplayBar, replay_bar
from stream.replay.topic_target import ReplayProgress, replay
from stream.settings import Settings
from stream.worker import build_parts

FOLDER = Path(".nextclick/demo")
WORKERS = 2
DAY_MS = 86_400_000
PROFILE_LINES = 400
"""Newest purchases of a household: a profile keeps 280 distinct ones, and few are doubled."""
COUNTS_FROM = REPLAY_FROM - 28 * DAY_MS
"""Two half lives of the shared counts; what is older weighs less than a quarter."""
PACED_SHARE = 0.2
PACED_SPEED = 1 / 3
"""The last part of the events is sent at a third of the speed of the first, to measure latency
where no queue builds up."""
SEED = 7


def cuda_is_usable() -> bool:
    """Whether ONNX Runtime can really run on a GPU here."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers() and (
        Path("/dev/nvidiactl").exists()
    )


def run_demo(console: Console) -> None:
    """Train if need be, start everything, replay, measure, print, and leave nothing behind.

    Raises:
        EmbeddedError, WorkerError, TopicError, ReplayError: a part does not do its work.
    """
    started = time.monotonic()
    provider = "cuda" if cuda_is_usable() else "cpu"
    if provider == "cpu":
        console.print("no GPU here: workers run with [bold]--provider cpu[/bold]")
    with console.status("reading The Complete Journey (a year of 2,469 households' groceries)"):
        from model.journey import load_items, load_purchases

        items, log = load_items(), load_purchases()
    console.print(f"{len(log):,} purchases, {len(items):,} products")
    manifest = _bundle(log, items, console)
    shop = demo_events(log, items, seed=SEED)
    shop.write(FOLDER / "events.jsonl")
    (FOLDER / "catalog.jsonl").write_bytes(b"".join(encode_item(item) + b"\n" for item in items))
    settings = Settings(
        bundle=FOLDER / "bundle",
        provider=provider,
        publish_replayed=True,  # the demonstration's events are of 2017
        max_batch=128,
    )
    with terminable(), LocalCluster(settings, logs=FOLDER / "logs") as cluster:
        console.print(f"broker {cluster.settings.brokers}, Redis {cluster.settings.redis_url}")
        asyncio.run(_fill(cluster.settings, log, items, console))
        with console.status(f"starting {WORKERS} workers in group `{settings.group}`"):
            cluster.start_workers(WORKERS)
        figures = asyncio.run(_replay_and_watch(cluster.settings, shop, console))
        cluster.refuse_death()
    print_report(console, log, shop.events, figures, manifest)
    console.print(f"done in {time.monotonic() - started:.0f} s; nothing is left running")


def _bundle(log: EventLog, items: Sequence[Item], console: Console) -> Manifest:
    """The bundle of an earlier run, or a new one trained on what came before the replay."""
    path = FOLDER / "bundle"
    try:
        manifest = load_bundle(path).manifest
        console.print(f"bundle {manifest.version} from an earlier run ({path})")
    except BundleError:
        from model.trainer import TrainConfig
        from stream.training import train_to

        manifest = train_to(
            log, path, TrainConfig(), seed=SEED, checkpoint=FOLDER / "training", console=console,
            items=items,
        )  # fmt: skip
        console.print(f"bundle {manifest.version} trained and exported")
    return manifest


async def _fill(settings: Settings, log: EventLog, items: Sequence[Item], console: Console) -> None:
    """Publish the catalogue; bring profiles and counts to where the replay begins."""
    report = await ingest(settings, items)
    console.print(f"catalogue: {report.items:,} items in {report.seconds:.1f} s")
    parts = build_parts(settings)
    try:
        await parts.store.open()
        total, newest = newest_purchases(log, COUNTS_FROM, PROFILE_LINES)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), console=console,
        ) as bar:  # fmt: skip
            task = bar.add_task("profiles of 2,469 households", total=total)
            await _learn(parts, EventPast("purchases", newest, batch=5_000), bar, task, count=False)
            recent = list(purchases_by_time(log, COUNTS_FROM, REPLAY_FROM))
            task = bar.add_task("and the last 28 days, with counts", total=len(recent))
            await _learn(
                parts, EventPast("recent purchases", recent, batch=5_000), bar, task, count=True
            )
    finally:
        await parts.store.redis.aclose()


async def _learn(
    parts: Parts, past: EventPast, bar: Progress, task: TaskID, *, count: bool
) -> None:
    """Bring profiles to where these events lead, and counts where asked to; from the beginning."""
    await build(
        parts,
        past,
        {},
        progress=lambda learnt: bar.update(task, completed=learnt.events),
        count=count,
    )


async def _replay_and_watch(settings: Settings, shop: DemoEvents, console: Console) -> DemoFigures:
    """Replay flat out, then at a third of that speed, while the lists are watched."""
    flat_out = int(len(shop.events) * (1 - PACED_SHARE))
    async with ListWatch(settings) as watch:
        with replay_bar(console) as bar:
            first = shop.events[:flat_out]
            seconds = await _replay_part(settings, watch, first, "flat out", None, bar)
            rate = len(first) / seconds
            rest = shop.events[flat_out:]
            await _replay_part(settings, watch, rest, "at a third of it", rate * PACED_SPEED, bar)
        lists = watch.lists()
    return DemoFigures(
        events_per_s=rate,
        paced_per_s=rate * PACED_SPEED,
        lists=lists,
        sent=watch.sent,
        paced={event.event_id for event in rest},
    )


async def _replay_part(
    settings: Settings,
    watch: ListWatch,
    events: list[Event],
    name: str,
    rate: float | None,
    bar: Progress,
) -> float:
    """Replay some events; returns the seconds from the first one sent to the last list seen."""
    shown = ReplayBar(bar, name, total=len(events))
    start = time.monotonic()
    past = EventPast(name, watch.departing(events), batch=Pace(rate=rate).portion)
    is_over = threading.Event()

    def follow(progress: ReplayProgress) -> None:
        if is_over.is_set():
            raise ReplayError("the demonstration was stopped")
        shown.show(progress.sent, progress.event_time, progress.lag)

    try:
        await asyncio.to_thread(replay, settings, past, {}, rate=rate, progress=follow)
    finally:
        is_over.set()
    await watch.until_quiet()
    return watch.arrived[-1][0] - start
