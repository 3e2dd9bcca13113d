"""Where a worker's processor time goes, function by function: a sampled profile of the full path.

    python -m benchmarks.flame_graph --json [--broker kafka] [--seconds 20] [--events 200000]

One worker of the product works off a backlog while py-spy looks at it from outside, a few hundred
times a second: at every thread that runs, with its whole stack. Shares are of these samples. What
ONNX Runtime and other native code does counts for the Python function that called it. The worker
runs on Python's own event loop here, since stacks end at libuv's: loops take a larger share.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_events, fill_profiles
from benchmarks.contender import ONE_THREAD
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.measured import MeasuredWorker, running
from benchmarks.pace import pace_of
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.servers import servers
from stream.settings import Settings
from stream.worker_process import WorkerProcess

DAY_S = 86_400
PATIENCE_S = 180.0
MAIN = "MainThread"
LOOP = "Handle._run"
"""The event loop runs a task: what lies above it says how the loop was started."""
WAITING = (
    "select", "wait", "_worker", "TimedRanker._work", "_stop_without_owner", "get", "accept",
)  # fmt: skip
"""Functions that wait for something else, by the ends of their names: no processor time. py-spy
leaves out threads that the kernel says are asleep, and some kernels do not say it."""
SMALLEST = 0.004
"""Share of a frame in the picture; smaller ones are left out."""
LISTED = 20


def recorded(pid: int, seconds: int, rate: int, path: Path) -> list[str]:
    """Stacks of a process, ``frame;frame;... samples`` a line, outermost first.

    Raises:
        subprocess.CalledProcessError: py-spy may not look at the process; it says so.
    """
    program = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), ""]))
    command = [program or "py-spy", "record", "--format=raw", "--threads", f"--duration={seconds}"]
    command += [f"--rate={rate}", f"--output={path}", f"--pid={pid}"]
    subprocess.run(command, stdout=sys.stderr, check=True)
    return path.read_text().splitlines()


def folded(lines: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Samples of threads that run, by stack; functions without their lines."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        thread, *frames = (_plain(frame) for frame in stack.split(";"))
        names = [frame.partition(" ")[0] for frame in frames]
        if names[-1].endswith(WAITING):
            continue
        if LOOP in names:
            frames = frames[len(names) - names[::-1].index(LOOP) :] or frames[-1:]
        elif thread == MAIN:
            frames = frames[-1:]  # the loop's own doing
        stacks[(thread, *(frame for frame in frames if "threading.py" not in frame))] += int(
            samples
        )
    return stacks


def _plain(frame: str) -> str:
    """A function and its file, without the line; of a thread its name."""
    if frame.startswith("thread ("):
        name = frame.partition(": ")[2].rstrip(")")
        return name if name in (MAIN, "ranker") else "other threads"
    name, _, place = frame.partition(" (")
    return f"{name} ({place.partition(':')[0]})" if place else name


def figures(stacks: Counter[tuple[str, ...]]) -> dict[str, Any]:
    """Shares of threads and functions, and the stacks that are large enough to be drawn."""
    samples = stacks.total()
    threads: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    drawn: Counter[tuple[str, ...]] = Counter()
    for stack, count in stacks.items():
        threads[stack[0]] += count
        own[stack[-1]] += count
        for frame in set(stack[1:]):
            total[frame] += count
        for depth in range(1, len(stack) + 1):
            drawn[stack[:depth]] += count
    return {
        "samples": samples,
        "threads": {name: round(count / samples, 4) for name, count in threads.most_common()},
        "functions": {
            name: {"own": round(count / samples, 4), "total": round(total[name] / samples, 4)}
            for name, count in own.most_common(LISTED)
        },
        "stacks": {
            ";".join(stack): count
            for stack, count in sorted(drawn.items())
            if count >= SMALLEST * samples
        },
    }


class OnAsyncio(WorkerProcess):
    """A worker whose stacks are whole."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.worker_on_asyncio", "worker", "--follow-owner"]


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Let a worker run, and look at it."""
    settings = Settings(bundle=pinned_bundle(asked.items), provider="cpu", max_event_age_s=DAY_S)
    crowd = Crowd(asked.users, asked.items)
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(asked.broker, settings) as settings,
    ):
        fill_catalogue(settings, asked.items)
        fill_events(settings, crowd.clicks(asked.events))
        fill_profiles(settings, crowd)
        fill_counts(settings, crowd)
        worker = MeasuredWorker(settings, Path(folder) / "worker.log", process=OnAsyncio)
        with running([worker]):
            # Its first lists are there: what is warmed up once is behind it.
            pace_of(
                worker.samples(), seconds=1.0, total=asked.events, patience_s=PATIENCE_S,
                counter="lists",
            )  # fmt: skip
            lines = recorded(
                worker.process.pid, asked.seconds, asked.rate, Path(folder) / "stacks.txt"
            )
            rss = worker.rss_mb
    return {
        **figures(folded(lines)),
        "rss_mb": round(rss),
        "broker": asked.broker,
        "users": asked.users,
        "items": asked.items,
        "seconds": asked.seconds,
        "rate": asked.rate,
        "machine": machine(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rate", type=int, default=200, help="samples a second")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--plots", type=Path, help="a folder to draw the figures into")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    os.environ.update(ONE_THREAD)  # for the worker, which inherits it
    print_figures("flame_graph", measure(asked), asked.plots)


if __name__ == "__main__":
    main()
