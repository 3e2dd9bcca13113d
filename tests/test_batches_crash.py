"""Workers that are stopped and killed in mid-stream: nothing committed is missing, ever."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import Broker
from tests.kafka_log import commit, committed, ends, read, write

pytestmark = pytest.mark.either_backend

PARTITIONS = 4
GUARD = 90.0  # seconds until a test that hangs is called hung; no test waits this long to pass
ROOT = Path(__file__).resolve().parent.parent

Echoed = dict[int, list[int]]  # partition -> offsets of the source topic, in the order written


class Stage:
    """A source topic, the topic its records are copied to, and the workers that do it."""

    def __init__(self, broker: Broker, name: str, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.source, self.target, self.group = f"{name}.source", f"{name}.target", name
        self.folder = folder
        self.brake = folder / "brake"
        self.brake.touch()
        self.workers: list[subprocess.Popen[bytes]] = []
        broker.create_topics({self.source: PARTITIONS, self.target: PARTITIONS})

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker; while the brake is on it works on 1,000 records a second at most."""
        environment = {
            "TEST_BOOTSTRAP": self.bootstrap,
            "TEST_SOURCE": self.source,
            "TEST_TARGET": self.target,
            "TEST_GROUP": self.group,
            "TEST_BRAKE": str(self.brake),
        }
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "faust", "-A", "tests.batch_worker"),
                    *("worker", "--without-web", "--loglevel", "info"),
                ],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(process)
        return process

    def log(self, number: int) -> str:
        return (self.folder / f"worker-{number}.log").read_text()

    async def write(self, records: int) -> None:
        await write(self.bootstrap, self.source, dict.fromkeys(range(PARTITIONS), [b"x"] * records))

    async def echoed_count(self) -> int:
        return sum((await ends(self.bootstrap, self.target)).values())

    async def echoed(self) -> Echoed:
        copies = await read(self.bootstrap, self.target)
        return {p: [int(record.value) for record in records] for p, records in copies.items()}

    async def last_writers(self) -> dict[int, int]:
        """For each partition, the process that wrote its newest copy."""
        copies = await read(self.bootstrap, self.target)
        return {
            p: int(dict(records[-1].headers)["worker"]) for p, records in copies.items() if records
        }

    async def committed(self) -> dict[int, int]:
        return await committed(self.bootstrap, self.group, self.source)


@pytest.fixture
def stage(broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(broker, str(request.node.name), tmp_path)
    yield stage
    for worker in stage.workers:
        worker.kill()
        worker.wait()


async def until(stage: Stage, condition: Callable[[], object]) -> None:
    """Poll; fails at once where a worker that nobody stopped is gone."""
    async with asyncio.timeout(GUARD):
        while not await asyncio.ensure_future(_truth(condition)):
            for number, worker in enumerate(stage.workers):
                assert worker.poll() in {None, 0, -signal.SIGKILL}, stage.log(number)
            await asyncio.sleep(0.2)


async def _truth(condition: Callable[[], object]) -> bool:
    result = condition()
    return bool(await result if asyncio.iscoroutine(result) else result)


async def ended(worker: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(worker.wait, GUARD)


def missing(echoed: Echoed, committed: dict[int, int]) -> dict[int, set[int]]:
    """Committed offsets of each partition that have no copy."""
    return {
        partition: set(range(end)) - set(echoed[partition])
        for partition, end in committed.items()
        if not set(range(end)) <= set(echoed[partition])
    }


def comes_in_order(offsets: list[int]) -> bool:
    """Each offset comes for the first time only after the one before it."""
    return list(dict.fromkeys(offsets)) == list(range(len(set(offsets))))


async def test_sigterm_in_mid_stream_loses_and_repeats_nothing(stage: Stage) -> None:
    total = 3000 * PARTITIONS
    await stage.write(3000)
    worker = stage.worker()

    async def begun() -> bool:
        return await stage.echoed_count() > 1000

    await until(stage, begun)
    worker.send_signal(signal.SIGTERM)
    assert await ended(worker) == 0, stage.log(0)
    echoed, done = await stage.echoed(), await stage.committed()
    assert 1000 < sum(done.values()) < total  # it was stopped in mid-stream
    assert echoed == {p: list(range(end)) for p, end in done.items()}

    stage.brake.unlink()
    second = stage.worker()

    async def all_done() -> bool:
        return sum((await stage.committed()).values()) == total

    await until(stage, all_done)
    second.send_signal(signal.SIGTERM)
    assert await ended(second) == 0, stage.log(1)
    assert await stage.echoed() == {p: list(range(3000)) for p in range(PARTITIONS)}


async def test_sigkill_of_one_of_two_members_loses_nothing(stage: Stage) -> None:
    total = 5000 * PARTITIONS
    await stage.write(5000)
    survivor = stage.worker()

    async def begun() -> bool:
        return await stage.echoed_count() > 1000

    await until(stage, begun)
    victim = stage.worker()

    async def shared() -> bool:
        return set((await stage.last_writers()).values()) == {survivor.pid, victim.pid}

    await until(stage, shared)
    writers = await stage.last_writers()
    victim.kill()
    await ended(victim)
    # Until its session ends nobody works on its partitions: this look at them is exact.
    done, echoed = await stage.committed(), await stage.echoed()
    orphaned = {p: done[p] for p, writer in writers.items() if writer == victim.pid}
    assert orphaned
    assert missing(echoed, orphaned) == {}
    assert sum(done.values()) < total  # it was killed in mid-stream
    stage.brake.unlink()

    async def all_done() -> bool:
        return sum((await stage.committed()).values()) == total

    await until(stage, all_done)
    survivor.send_signal(signal.SIGTERM)
    assert await ended(survivor) == 0, stage.log(0)
    echoed = await stage.echoed()
    assert missing(echoed, await stage.committed()) == {}
    assert all(map(comes_in_order, echoed.values()))


async def test_an_offset_that_is_gone_stops_the_worker_with_a_sentence(stage: Stage) -> None:
    await stage.write(10)
    await commit(stage.bootstrap, stage.group, stage.source, 1, 5000)
    assert await ended(stage.worker()) != 0
    log = stage.log(0)
    assert f"{stage.source}[1]: this group has to go on at offset 5000" in log
    assert "the broker holds [0, 10): the topic was recreated or lost its end" in log
    assert f"--group {stage.group} --topic {stage.source}:1 --reset-offsets" in log
    assert (await stage.committed())[1] == 5000
