"""Memory of a full profile, and profile updates a second beside plain SETs of the same bytes.

    python -m benchmarks.profiles --json [--rounds 5] [--updates 25600] [--depths 64,256,1024]

Updates go through ``Store.merge``, one event each: 80% in order, 10% twice, 10% late, on profiles
at all their bounds; ``held`` is the share of them whose profile the client had in hand. The plain
SETs (values of the same size, same time to live, depth and number of trips in flight) go through
the same trip as the updates, and, as ``pipeline``, through redis-py's own. Each runs in a process
of its own, turn by turn in each round; the server has a core for itself where there is a second
one.
Processor time of server and client stands beside the rates: it is what other work on the machine
disturbs least.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from rich.console import Console
from rich.progress import Progress

from benchmarks.profile_memory import memory_per_user
from stream.embedded_redis import EmbeddedRedis

USERS = 5_000
MAIN_DEPTH = 256
CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Round:
    """What one contender did in one round, per command."""

    per_s: float
    server_us: float
    """Processor time of the server, microseconds."""
    client_us: float
    held: float
    """Share of the commands for which the client had the profile in hand."""


class Clients:
    """The processes of one contender; all of them start at once."""

    def __init__(self, kind: str, url: str, count: int, users: int, cached: int) -> None:
        self.kind = kind
        cores = CORES[1:] or CORES
        self._processes = [
            _on_core(
                cores[number % len(cores)],
                [sys.executable, "-m", "benchmarks.profile_contender", kind, url,
                 f"--users={users // count}", f"--number={number}", f"--cached={cached}"],
            )
            for number in range(count)
        ]  # fmt: skip
        self.catalogue = str(self._heard()[0]["catalogue"])

    def run(self, server: psutil.Process, updates: int, **task: Any) -> Round:
        """One round of so many commands, shared by the processes."""
        share = updates // len(self._processes)
        self._tell(json.dumps({"updates": share, **task}))
        self._heard()
        before = server.cpu_times()
        self._tell("go")
        answers = self._heard()
        after = server.cpu_times()
        done = share * len(self._processes)
        spent = after.user + after.system - before.user - before.system
        return Round(
            per_s=done / max(answer["seconds"] for answer in answers),
            server_us=spent / done * 1e6,
            client_us=sum(answer["cpu_s"] for answer in answers) / done * 1e6,
            held=sum(answer["held"] for answer in answers) / done,
        )

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def _heard(self) -> list[dict[str, Any]]:
        heard = []
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the {self.kind} process ended; its error stands above")
            heard.append(json.loads(line))
        return heard


def _on_core(core: int, command: Sequence[str]) -> subprocess.Popen[str]:
    with _pinned({core}):
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(CORES))


def servers() -> dict[str, Path | None]:
    """The servers at hand, by name."""
    installed = shutil.which("redis-server")
    return {"valkey": None} | ({"redis": Path(installed)} if installed else {})


def measure_speed(asked: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """The rates on one server, by depth."""
    depths = [int(depth) for depth in asked.depths.split(",")]
    with ExitStack() as stack:
        with _pinned({CORES[0]}):
            server = stack.enter_context(EmbeddedRedis(binary=servers()[asked.server]))
        with redis.Redis.from_url(server.url) as client:
            facts = client.info("server")
        process = psutil.Process(facts["process_id"])
        contenders = [
            Clients(kind, server.url, asked.clients, asked.users, asked.cached)
            for kind in ("merge", "set", "pipeline")
        ]
        for contender in contenders:
            stack.callback(contender.close)
        merge, plain, _ = contenders
        turns = [(each, depth, True) for depth in depths for each in contenders]
        turns.append((plain, MAIN_DEPTH, False))
        rounds: dict[tuple[str, int, bool], list[Round]] = {}
        task = progress.add_task("speed", total=len(turns) * (asked.rounds + 1))
        for number in range(asked.rounds + 1):
            for contender, depth, ttl in turns:
                found = contender.run(
                    process, asked.updates, depth=depth, in_flight=asked.in_flight, ttl=ttl
                )
                if number:  # the first one warms up
                    rounds.setdefault((contender.kind, depth, ttl), []).append(found)
                progress.advance(task)
        resident = process.memory_info().rss
    by_depth = {depth: _figures(rounds, depth) for depth in depths}
    main = MAIN_DEPTH if MAIN_DEPTH in depths else depths[0]
    return {
        **by_depth[main],
        "depth": main,
        "by_depth": by_depth,
        "plain_set_without_ttl_per_s": _median(rounds["set", MAIN_DEPTH, False], "per_s"),
        "server": asked.server,
        "server_version": str(facts.get("valkey_version", facts["redis_version"])),
        "server_rss_mb": round(resident / 2**20),
        "catalogue": merge.catalogue,
    }


def _figures(rounds: dict[tuple[str, int, bool], list[Round]], depth: int) -> dict[str, float]:
    merges, sets, piped = (rounds[kind, depth, True] for kind in ("merge", "set", "pipeline"))
    return {
        "updates_per_s": _median(merges, "per_s"),
        "plain_set_per_s": _median(sets, "per_s"),
        "ratio": _ratio(merges, sets),
        "held": _median(merges, "held", 3),
        "pipeline_set_per_s": _median(piped, "per_s"),
        "ratio_to_pipeline": _ratio(merges, piped),
        "best_updates_per_s": round(max(each.per_s for each in merges)),
        "best_plain_set_per_s": round(max(each.per_s for each in sets)),
        "server_us_per_update": _median(merges, "server_us", 1),
        "server_us_per_set": _median(sets, "server_us", 1),
        "client_us_per_update": _median(merges, "client_us", 1),
        "client_us_per_set": _median(sets, "client_us", 1),
        "client_us_per_pipeline_set": _median(piped, "client_us", 1),
    }


def _ratio(merges: Sequence[Round], sets: Sequence[Round]) -> float:
    """The median of the rounds' ratios of rates."""
    ratios = [merge.per_s / plain.per_s for merge, plain in zip(merges, sets, strict=True)]
    return round(statistics.median(ratios), 3)


def _median(rounds: Sequence[Round], figure: str, digits: int | None = None) -> float:
    median: float = statistics.median(getattr(each, figure) for each in rounds)
    return round(median, digits)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=25_600, help="of a contender in a round")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--depths", default="64,256,1024", help="commands in one trip")
    parser.add_argument("--in-flight", type=int, default=3, help="trips at a time of one client")
    parser.add_argument("--clients", type=int, default=1, help="processes of each contender")
    parser.add_argument("--cached", type=int, default=8_192, help="profiles a client holds")
    parser.add_argument("--server", choices=tuple(servers()), default="valkey")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    with Progress(console=Console(stderr=True)) as progress:
        memory = {name: asyncio.run(memory_per_user(path)) for name, path in servers().items()}
        speed = measure_speed(asked, progress)
    figures = {
        "bytes_per_user": max(each["bytes_per_user"] for each in memory.values()),
        "packed_minimum_bytes": memory["valkey"]["packed_minimum_bytes"],
        **speed,
        "memory": memory,
        "in_flight": asked.in_flight,
        "clients": asked.clients,
        "updates": asked.updates,
        "rounds": asked.rounds,
        "machine": f"{psutil.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
