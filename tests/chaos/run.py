"""The crash suite: a seeded log through real servers and workers that a schedule of faults hits.

``python -m tests.chaos.run --events 1000000 --faults 200 --seed 1`` prints a table (``--json``: the
same as JSON) and ends with status 1 where anything was lost, doubled or different.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Producer
from rich.console import Console

from model.items import encode_item
from stream.cluster import terminable, uninterrupted
from stream.worker import build_parts
from tests.chaos.checks import check_all
from tests.chaos.deliveries import redelivered
from tests.chaos.differences import Differences
from tests.chaos.fleet import Fleet
from tests.chaos.goods import ITEMS
from tests.chaos.injection import Injection
from tests.chaos.ledger import Ledger
from tests.chaos.recovery import Progress, summary
from tests.chaos.report import Report, show
from tests.chaos.servers import Servers
from tests.chaos.stage import Plan, Stage, drive
from tests.chaos.tail import Tail
from tests.chaos.worker import read_journal
from tests.maven import KAFKA_VERSION

KAFKA_JARS = Path(__file__).parent.parent.parent / ".nextclick" / "kafka" / f"kafka-{KAFKA_VERSION}"


def run(plan: Plan, folder: Path, console: Console) -> Report:
    """One run, its servers and workers gone at the end whatever happens.

    Args:
        plan: what to do.
        folder: for data and logs, empty.
        console: where progress is shown.

    Raises:
        RuntimeError: the workers do not start.
        stream.embedded.EmbeddedError: a server does not start.
    """
    begin = time.monotonic()
    with ExitStack() as stack, terminable():
        console.print(f"starting {plan.backend}, Valkey and {plan.workers} workers in {folder}")
        servers = stack.enter_context(Servers(folder, plan.kafka, plan.partitions))
        settings = servers.settings
        fleet = Fleet(settings, folder, plan.sabotage)
        stack.callback(fleet.end)
        ledger = Ledger(settings)
        topics = [settings.events_topic, settings.recommendations_topic, settings.dlq_topic]
        brokers = servers.direct.brokers
        tail = stack.enter_context(
            Tail(brokers, dict.fromkeys(topics, plan.partitions), ledger.take)
        )
        progress = stack.enter_context(
            Progress(brokers, settings.group, settings.events_topic, plan.partitions)
        )
        _publish_catalog(servers)
        fleet.start(plan.workers)
        fleet.wait_ready()
        injection = Injection(
            plan.schedule(), servers, fleet, progress, lambda: tail.read(settings.events_topic)
        )
        stack.callback(injection.end)
        stage = Stage(plan, servers, fleet, ledger, tail, progress, injection)
        seconds = drive(stage, console)
        console.print(f"checking {ledger.events:,} records and {ledger.published:,} lists")
        differences = asyncio.run(_check(stage))
        report = _report(stage, differences, seconds)
        with uninterrupted():
            stack.close()
    console.print(f"done after {time.monotonic() - begin:.0f} s")
    return report


def _publish_catalog(servers: Servers) -> None:
    producer = Producer({"bootstrap.servers": servers.direct.brokers, "log_level": 0})
    for item in ITEMS:
        producer.produce(
            servers.settings.catalog_topic, encode_item(item), key=item.item_id.encode()
        )
    producer.flush()


async def _check(stage: Stage) -> list[Differences]:
    parts = build_parts(stage.servers.direct)
    try:
        await parts.store.open()
        deliveries = read_journal(stage.fleet.journal)
        return await check_all(stage.ledger, parts.store, parts.counts, deliveries)
    finally:
        await parts.store.redis.aclose()


def _report(stage: Stage, differences: list[Differences], seconds: float) -> Report:
    ledger, plan = stage.ledger, stage.plan
    return Report(
        backend=plan.backend,
        seed=plan.seed,
        partitions=plan.partitions,
        workers_started=stage.fleet.started,
        events=ledger.events,
        copies=ledger.copies,
        garbage=len(ledger.garbage),
        lists=ledger.published,
        users=len(ledger.histories),
        faults=dict(sorted(stage.injection.injected.items())),
        redeliveries=redelivered(read_journal(stage.fleet.journal)),
        differences=differences,
        deaths=stage.fleet.deaths,
        failures=stage.failures,
        recovery_s=summary(stage.progress.recoveries),
        seconds=round(seconds, 1),
        events_per_s=round(ledger.events / seconds, 1),
    )


def kafka_jars(backend: str | None, console: Console) -> Path | None:
    """Where Apache Kafka is, for that backend; None for the embedded broker."""
    missing = [
        what
        for what, is_there in (
            ("Java", shutil.which("java")),
            (f"{KAFKA_JARS} (python -m tests.maven .nextclick/kafka)", KAFKA_JARS.is_dir()),
        )
        if not is_there
    ]
    if backend == "embedded":
        return None
    if not missing:
        return KAFKA_JARS
    if backend == "kafka":
        raise SystemExit(f"Apache Kafka cannot be used: {' and '.join(missing)} missing")
    console.print(
        f"[yellow]Apache Kafka is not here ({' and '.join(missing)} missing): the embedded broker "
        "takes its place, which is in memory and is never killed"
    )
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="records of the log")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=("kafka", "embedded"))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    errors = Console(stderr=True)
    kafka = kafka_jars(given.backend, errors)
    plan = Plan(given.events, given.faults, given.seed, kafka)
    folder = Path(tempfile.mkdtemp(prefix="nextclick-chaos-"))
    is_green = False
    try:
        report = run(plan, folder, errors)
        is_green = report.is_green
        if given.json:
            sys.stdout.write(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
        else:
            show(report, Console())
    except KeyboardInterrupt:
        errors.print("interrupted")
        is_green = True  # nobody will look at what is left
        return 130
    finally:
        if is_green:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            errors.print(f"logs and data are kept in {folder}")
    return 0 if report.is_green else 1


if __name__ == "__main__":
    sys.exit(main())
