"""``nextclick up``: broker, Redis, workers, API and console on this machine until Ctrl-C."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from model.bundle import load_bundle
from stream.catalogue_files import read_items
from stream.cluster import LocalCluster, terminable
from stream.ingest import ingest
from stream.rows import BadRow
from stream.settings import Settings

API_PACKAGES = ("starlette", "uvicorn", "httptools")
"""What the extra ``api`` installs."""


def run_up(settings: Settings, *, workers: int, catalog: Sequence[Path], console: Console) -> None:
    """Start everything, say where it is, and stay until Ctrl-C or SIGTERM.

    Raises:
        BundleError: there is no usable bundle; nothing has been started.
        EmbeddedError, TopicError, RowsError, WorkerError: a part does not start, or a worker dies.
    """
    load_bundle(settings.bundle, settings.bundle_public_key)
    try:
        with terminable(), LocalCluster(settings) as cluster:
            console.print(f"broker    {cluster.settings.brokers}")
            console.print(f"redis     {cluster.settings.redis_url}")
            if catalog:
                _load_catalog(cluster.settings, catalog, console)
            console.print(f"starting {workers} workers")
            cluster.start_workers(workers)
            start_console(cluster, console)
            _say_addresses(cluster, console)
            cluster.stay(console)
    except KeyboardInterrupt:
        pass
    console.print("stopped")


def start_console(cluster: LocalCluster, console: Console) -> None:
    """Serve API and console, and say where; or what is to be installed.

    Raises:
        WorkerError: they do not start.
    """
    missing = [name for name in API_PACKAGES if find_spec(name) is None]
    if missing:
        lines = [f"console   needs {', '.join(missing)}; run: pip install 'nextclick[api]'"]
    else:
        address = cluster.start_api()
        lines = [f"console   {address}", f"API       {address.removesuffix('console/')}v1/"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _load_catalog(settings: Settings, paths: Sequence[Path], console: Console) -> None:
    bad: list[BadRow] = []

    def report(row: BadRow) -> None:
        bad.append(row)
        console.print(f"left out  {row}", markup=False, highlight=False)

    done = asyncio.run(ingest(settings, read_items(paths, report)))
    console.print(f"catalogue {done.items:,} items, {len(bad):,} rows left out")


def _say_addresses(cluster: LocalCluster, console: Console) -> None:
    settings = cluster.settings
    lines = [
        f"KAFKA={settings.brokers}",
        f"REDIS={settings.redis_url}",
        f"GROUP={settings.group}",
        f"EVENTS={settings.events_topic}",
        f"RECOMMENDATIONS={settings.recommendations_topic}",
        f"CATALOG={settings.catalog_topic}",
        f"DEAD_LETTERS={settings.dlq_topic}",
        *(f"LOG={worker.log}" for worker in cluster.workers),
        "",
        "In another terminal:",
        f"export NEXTCLICK_BROKERS={settings.brokers} NEXTCLICK_REDIS_URL={settings.redis_url} "
        f"NEXTCLICK_EMBEDDED=true NEXTCLICK_BUNDLE={settings.bundle.resolve()} "
        f"NEXTCLICK_PROVIDER={settings.provider}"
        + (f" NEXTCLICK_INPUTS={settings.inputs}" if settings.inputs else ""),
        "",
        "ready; Ctrl-C stops everything",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
