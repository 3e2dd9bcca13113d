"""The HTTP API: last lists in an open loop, and lists on demand beside the path without HTTP.

    python -m benchmarks.api --json [--rate 500] [--seconds 10] [--rounds 3] [--named]

The API and the path that is called directly run on one core each in turn, the same one; the load
comes from another process. A last list's latency runs from the moment at which the schedule had it
asked for. On demand, ``--callers`` ask again and again; then the path is called in micro-batches of
the sizes that this had (``batch_sizes``, of the API's own metrics), and what it makes is encoded.
``throughput_ratio`` is by the clock; ``processor_ratio`` compares the processor time of a list,
which other work on the machine moves less.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_profiles
from benchmarks.contender import ONE_THREAD, Contender, ContenderError
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.servers import servers
from stream.embedded_redis import free_port
from stream.settings import Settings, child_environment

PATIENCE_S = 120.0
HOST = "127.0.0.1"
BUCKET = "nextclick_api_questions_bucket"
SIZES_MEANT = 256
"""Batch sizes that the path is called in."""


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Raises ContenderError where a process has ended."""
    bundle = pinned_bundle(asked.items)
    port = free_port()
    # Nobody searches here, and texts would be encoded while lists are measured.
    wanted = Settings(bundle=bundle, provider="cpu", api_port=port, text_encoder="off")
    with (
        tempfile.TemporaryDirectory() as folder,
        servers("embedded", wanted) as settings,
    ):
        crowd = Crowd(asked.users, asked.items)
        fill_catalogue(settings, asked.items)
        fill_profiles(settings, crowd)
        fill_counts(settings, crowd)
        sizes = [str(asked.users), str(asked.items)]
        environment = child_environment(settings) | ONE_THREAD
        with on_core(asked.core):
            direct = Contender("benchmarks.api_direct", sizes, environment=environment)
        load = Contender("benchmarks.api_load", [HOST, str(port), *sizes])
        with direct, load:
            direct.ask(kind="keep")
            with serving(settings, Path(folder) / "api.log", asked.core) as api:
                return {**_last_lists(asked, load, api), **_on_demand(asked, load, direct, api)} | {
                    "users": asked.users,
                    "items": asked.items,
                    "seconds_a_turn": asked.seconds,
                    "rounds": asked.rounds,
                    "machine": machine(),
                }


class Api:
    """``nextclick api`` in a process of its own."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self._url = f"http://{HOST}:{port}"
        self._process = psutil.Process(process.pid)

    def read(self, path: str) -> str:
        """The answer to a GET."""
        with urllib.request.urlopen(self._url + path, timeout=10) as answered:
            return str(answered.read().decode())

    @property
    def cpu_s(self) -> float:
        """Processor time spent so far."""
        spent = self._process.cpu_times()
        return float(spent.user + spent.system)

    def batches(self) -> dict[float, float]:
        """How many micro-batches had at most so many questions."""
        found: dict[float, float] = {}
        for line in self.read("/metrics").splitlines():
            if line.startswith(BUCKET):
                label, _, value = line.rpartition(" ")
                found[float(label.split('"')[1].replace("+Inf", "inf"))] = float(value)
        return found


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in here runs on that core only."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


@contextmanager
def serving(settings: Settings, log: Path, core: int) -> Iterator[Api]:
    """The API, ready. Raises ContenderError where it does not get so."""
    environment = os.environ | child_environment(settings) | ONE_THREAD
    with log.open("wb") as output, on_core(core):
        process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "api"], env=environment, stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        api = Api(settings.api_port, process)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                api.read("/health/ready")
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ContenderError(f"the API is not ready: {log.read_text()}") from None
                time.sleep(0.1)
            else:
                break
        yield api
    finally:
        process.terminate()
        process.wait(60)


def _last_lists(asked: argparse.Namespace, load: Contender, api: Api) -> dict[str, Any]:
    load.ask(kind="open", rate=asked.rate, seconds=1)
    before = api.cpu_s
    turns = [
        load.ask(kind="open", rate=asked.rate, seconds=asked.seconds) for _ in range(asked.rounds)
    ]
    every = np.concatenate([turn["latencies_ms"] for turn in turns])
    return {
        "last_list_rate": asked.rate,
        "last_list_requests": len(every),
        "last_list_p50_ms": round(float(np.percentile(every, 50)), 2),
        "last_list_p99_ms": round(float(np.percentile(every, 99)), 2),
        "last_list_max_ms": round(float(every.max()), 2),
        "last_list_p99_ms_by_round": [
            round(float(np.percentile(turn["latencies_ms"], 99)), 2) for turn in turns
        ],
        "last_list_errors": sum(turn["errors"] for turn in turns),
        "last_list_sent_late_ms": round(median(turn["sent_late_ms"] for turn in turns), 2),
        "last_list_cpu_ms": round((api.cpu_s - before) * 1000 / len(every), 3),
    }


def _on_demand(
    asked: argparse.Namespace, load: Contender, direct: Contender, api: Api
) -> dict[str, Any]:
    load.ask(kind="closed", callers=asked.callers, seconds=1, named=asked.named)
    over, without = [], []
    for _ in range(asked.rounds):
        before, cpu_before = api.batches(), api.cpu_s
        turn = load.ask(
            kind="closed", callers=asked.callers, seconds=asked.seconds, named=asked.named
        )
        cpu_s, sizes = api.cpu_s - cpu_before, _sizes(before, api.batches(), turn["answered"])
        over.append(turn | {"cpu_ms": cpu_s * 1000 / max(turn["answered"], 1), "sizes": sizes})
        without.append(direct.ask(kind="measure", sizes=sizes, seconds=asked.seconds,
                                  named=asked.named))  # fmt: skip
    per_s = median(turn["answered"] / turn["seconds"] for turn in over)
    direct_per_s = median(turn["per_s"] for turn in without)
    cpu, direct_cpu = (
        median(turn["cpu_ms"] for turn in over), median(turn["cpu_ms_a_list"] for turn in without)
    )  # fmt: skip
    return {
        "callers": asked.callers,
        "named_items": asked.named,
        "on_demand_per_s": round(per_s),
        "direct_per_s": round(direct_per_s),
        "throughput_ratio": round(per_s / direct_per_s, 3),
        "on_demand_cpu_ms": round(cpu, 3),
        "direct_cpu_ms": round(direct_cpu, 3),
        "processor_ratio": round(direct_cpu / cpu, 3),
        "batch_sizes": round(float(np.mean([np.mean(turn["sizes"]) for turn in over])), 1),
        "on_demand_errors": sum(turn["errors"] for turn in over),
    }


def _sizes(before: dict[float, float], after: dict[float, float], questions: int) -> list[int]:
    """Batch sizes as the API had them: by bucket, which are spread out to meet their sum."""
    edges = sorted(after)
    counts = np.diff([0.0, *(after[edge] - before.get(edge, 0.0) for edge in edges)])
    lows = [1, *(int(edge) + 1 for edge in edges[:-1])]
    highs = [int(min(edge, 512)) for edge in edges]
    # One share of the way up in every bucket, such that all of them together are the questions.
    least, most = float(counts @ lows), float(counts @ highs)
    share = 0.0 if most == least else min(max((questions - least) / (most - least), 0.0), 1.0)
    values = [round(low + share * (high - low)) for low, high in zip(lows, highs, strict=True)]
    weights = np.round(counts / max(counts.sum(), 1) * SIZES_MEANT).astype(int)
    sizes = np.repeat(values, weights)
    np.random.default_rng(0).shuffle(sizes)
    found: list[int] = sizes.tolist()
    return found or [1]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="last lists a second")
    parser.add_argument("--callers", type=int, default=32, help="of lists on demand")
    parser.add_argument("--named", action="store_true", help="each question names 50 items to rank")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0, help="of the API and of the path")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    try:
        found = measure(asked)
    except ContenderError as error:
        sys.exit(f"benchmarks.api: {error}")
    print_figures("api", found, None)


if __name__ == "__main__":
    main()
