"""A backfill that is killed again and again, beside an undisturbed one: byte for byte the same.

``python -m tests.chaos.backfill --events 1000000 --kills 20 --seed 1 --json`` builds a made-up log
of Parquet files into a shadow generation twice, by the command line, and compares every profile
and every set of counts; exit status 1 where anything differs. ``--selftest`` breaks the build on
purpose, in two ways, and wants a short run red each time.

The first SIGKILL comes while files are sorted, the others when so many bytes have gone to Redis:
places drawn by the seed, one from each of equal stretches of what the undisturbed build sends. A
proxy holds back the rest, so that the moment does not depend on the machine. After half of the
kills what was held back comes through, as from the buffers of a kernel; after the others it is
lost, in the middle of a command.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from redis import Redis
from rich.console import Console

from benchmarks.made_up import ITEM_COUNT
from benchmarks.replay_log import session_log, write_parquet
from stream.cluster import terminable
from stream.embedded_redis import EmbeddedRedis
from stream.replay.work_folder import FOLDER
from stream.settings import Settings, child_environment
from tests.chaos.differences import Differences
from tests.chaos.replay_process import SABOTAGES
from tests.chaos.stored import compared, stored
from tests.chaos.traffic import Traffic
from tests.tcp_proxy import TcpProxy
from tests.tiny import tiny_bundle

ROOT = Path(__file__).parent.parent.parent
EVENTS_PER_USER = 20
TRAFFIC_SHARE = 10
"""One event in so many is of every kind, late, doubled, forgotten or of somebody identified; the
others are clicks of many users on many items."""
UNDISTURBED, KILLED = "undisturbed", "killed"
LOST = 0.5
"""Of the kills, with what was under way."""
LOOK_S = 0.01
PATIENCE_S = 60.0
"""With a Redis on a machine that is busy with other things."""


@dataclass(frozen=True)
class Backfill:
    """What to do."""

    events: int
    kills: int
    seed: int
    epoch: int = 0
    """Events of an epoch; 0 for the product's own number."""
    lease_ms: int = 0
    """Of a builder; 0 for the product's own."""
    sabotage: str = ""


SHORT = Backfill(events=30_000, kills=5, seed=1, epoch=5_000, lease_ms=500)


@dataclass
class Report:
    """What came of it."""

    events: int = 0
    kills: int = 0
    differences: list[Differences] = field(default_factory=list)
    undisturbed_s: float = 0
    killed_s: float = 0
    failures: list[str] = field(default_factory=list)

    @property
    def verdicts(self) -> list[str]:
        """A sentence for everything that is wrong."""
        found = [f"{each.count} differences in {each.check}" for each in self.differences]
        return [each for each in found if not each.startswith("0 ")] + self.failures

    @property
    def red_checks(self) -> set[str]:
        """The checks that found differences."""
        return {each.check for each in self.differences if each.count}

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self) | {"verdicts": self.verdicts, "green": not self.verdicts}


def run(plan: Backfill, folder: Path, console: Console) -> Report:
    """One undisturbed build and one that is killed, with a Redis of their own.

    Args:
        plan: what to do.
        folder: for files and logs, empty.
        console: where progress is told.
    """
    files, report = _written(plan, folder), Report()
    tiny_bundle(folder / "bundle", ["item-0"])
    with EmbeddedRedis() as redis, terminable():
        with TcpProxy(int(redis.address.rpartition(":")[2])) as proxy:
            building = _Building(plan, files, folder, proxy)
            report.undisturbed_s = building.undisturbed(report)
            console.print(f"undisturbed: {report.undisturbed_s} s, {proxy.sent:,} bytes to Redis")
            report.killed_s = building.killed(report, proxy.sent, console)
        with Redis.from_url(redis.url) as client:
            both = [stored(client, prefix) for prefix in (UNDISTURBED, KILLED)]
    report.differences = compared(*both)
    report.failures += [
        f"no {each.check} were compared" for each in report.differences if not each.compared
    ]
    return report


class _Building:
    """The same files built twice, each time from a folder and below a prefix of its own."""

    def __init__(
        self, plan: Backfill, files: Sequence[Path], folder: Path, proxy: TcpProxy
    ) -> None:
        self._plan, self._files, self._folder, self._proxy = plan, files, folder, proxy

    def undisturbed(self, report: Report) -> float:
        """Build once; returns the seconds."""
        began = time.monotonic()
        with self._started(UNDISTURBED) as process:
            self._ended(process, UNDISTURBED, report)
        return round(time.monotonic() - began, 1)

    def killed(self, report: Report, sent: int, console: Console) -> float:
        """Build with kills, the places of all but the first drawn from the bytes that were sent."""
        began, rng = time.monotonic(), random.Random(f"kills {self._plan.seed}")
        # Nothing is sent in vain by an undisturbed build, so that nobody is done before the last.
        # One in each stretch, so that some always come behind the first epoch.
        stretch = 9 * sent // 10 // max(self._plan.kills - 1, 1)
        places = [nth * stretch + rng.randrange(stretch) for nth in range(self._plan.kills - 1)]
        for before, place in pairwise([0, 0, *places]):
            is_due = self._is_sorting
            if report.kills:
                is_due = self._proxy.stall_after(place - before).is_set
            with self._started(KILLED) as process:
                while not is_due() and process.poll() is None:
                    time.sleep(LOOK_S)
                if process.poll() is not None:
                    report.failures.append(f"done before kill {report.kills + 1}")
                    break
                process.kill()
            report.kills += 1
            console.print(f"kill {report.kills}, {place:,} bytes on the way")
            if rng.random() < LOST:
                self._proxy.cut()
            self._proxy.resume()
        self._proxy.resume()
        with self._started(KILLED) as process:
            self._ended(process, KILLED, report)
        return round(time.monotonic() - began, 1)

    def _is_sorting(self) -> bool:
        """Whether a sorted run is being written."""
        return any((self._folder / KILLED / FOLDER).glob("*/run-*"))

    def _ended(self, process: "subprocess.Popen[str]", prefix: str, report: Report) -> None:
        printed, _ = process.communicate()
        if process.returncode:
            told = (self._folder / prefix / "log").read_text().splitlines()[-1:]
            report.failures.append(f"{prefix}: status {process.returncode}: {''.join(told)}")
            return
        if prefix == UNDISTURBED:
            report.events = json.loads(printed)["events"]

    @contextmanager
    def _started(self, prefix: str) -> Iterator["subprocess.Popen[str]"]:
        """The command, dead at the end."""
        plan, place = self._plan, self._folder / prefix
        place.mkdir(exist_ok=True)
        settings = Settings(
            redis_url=f"redis://{self._proxy.address}/0",
            redis_prefix=prefix,
            bundle=self._folder / "bundle",
            redis_timeout_s=PATIENCE_S,
        )
        sabotage = plan.sabotage if prefix == KILLED else ""
        command = [sys.executable, "-m", "tests.chaos.replay_process"]
        command += [str(plan.epoch), str(plan.lease_ms), sabotage, "replay", "files"]
        command += [*map(str, self._files), "--into", "shadow", "--strict", "--json"]
        with (
            (place / "log").open("a") as log,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=place,
                env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
            ) as process,
        ):  # fmt: skip
            try:
                yield process
            finally:
                process.kill()


def _written(plan: Backfill, folder: Path) -> list[Path]:
    """The log, in two files that go side by side in time."""
    kinds = plan.events // TRAFFIC_SHARE
    clicks, sessions, traffic = (
        plan.events - kinds,
        folder / "clicks.parquet",
        folder / "all.parquet",
    )
    users = max(plan.events // EVENTS_PER_USER, 1)
    write_parquet(sessions, session_log(clicks, users=users, items=ITEM_COUNT, seed=plan.seed))
    sound = (each.value for each in Traffic(2 * kinds, plan.seed, 1) if not each.is_garbage)
    rows = [msgspec.json.decode(value or b"") for value in islice(sound, kinds)]
    names = sorted({name for row in rows for name in row})
    table = {name: [row.get(name) for row in rows] for name in names}
    pq.write_table(pa.table(table), traffic, compression="zstd")
    return [sessions, traffic]


def selftest(seed: int, folder: Path, console: Console) -> int:
    """A short run with nothing broken, which must be green, and one for each sabotage; returns the
    exit status."""
    wrong = []
    for sabotage in ("", *SABOTAGES):
        place = folder / (sabotage or "sound")
        place.mkdir()
        console.print(f"broken: {sabotage or 'nothing'}")
        plan = replace(SHORT, seed=seed, sabotage=sabotage)
        report = run(plan, place, console)
        console.print(f"  {report.verdicts or 'green'}")
        due = {SABOTAGES[sabotage].red_check} if sabotage else set()
        if not due <= report.red_checks or (not sabotage and report.verdicts):
            wrong.append(sabotage or "nothing")
    console.print(f"not as it should be: {', '.join(wrong)}" if wrong else "as it should be")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.backfill", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a sentence")
    parser.add_argument("--selftest", action="store_true", help="break it, and see it fail")
    given = parser.parse_args(arguments)
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="nextclick-backfill-") as folder:
        if given.selftest:
            return selftest(given.seed, Path(folder), errors)
        report = run(Backfill(given.events, given.kills, given.seed), Path(folder), errors)
    told = json.dumps(report.as_json(), indent=2) if given.json else "; ".join(report.verdicts)
    sys.stdout.write((told or f"green: {report.kills} kills changed nothing") + "\n")
    return 1 if report.verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
