"""A rolling upgrade: two versions of library and profile format at work on the same profiles."""

import asyncio
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from serving.profile import VERSION
from serving.store import Store, StoreError
from tests.learning_worker import PATIENT_S, LearningWorker, learning_worker
from tests.parts import FakeRecord
from tests.shoppers import (
    by_user,
    count_differences,
    expected_counts,
    partitions_of,
    profile_bytes,
    shopping_log,
    stored_counts,
)

pytestmark = pytest.mark.either_backend

EVENTS = 10_000
USERS = 4_000
"""So many that the old version keeps meeting users whom the next one has not touched."""
PARTITIONS = 4
LARGEST_BATCH = 20
PREFIX = "nc"
ROOT = Path(__file__).parent.parent


class NextWorker:
    """A worker of the next version, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, line: str = "") -> str:
        """Its answer to a line of ours; without one, its next line."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if line:
            self._process.stdin.write(f"{line}\n".encode())
            await self._process.stdin.drain()
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def next_worker(
    folder: Path, url: str, partitions: list[list[FakeRecord]]
) -> AsyncIterator[NextWorker]:
    """The same code with the next number of the format and another text of the library."""
    for floor in ("model", "serving", "stream", "tests"):
        shutil.copytree(ROOT / floor, folder / floor, ignore=shutil.ignore_patterns("__pycache__"))
    edit(folder / "serving" / "profile.py", rf"^VERSION = {VERSION}$", f"VERSION = {VERSION + 1}")
    edit(folder / "serving" / "functions.lua", r"^(#!lua .*)$", r"\1\n-- The next version.")
    log = folder / "log"
    log.write_bytes(msgspec.msgpack.encode(partitions))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.learning_worker", url, PREFIX, str(log),
        cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        worker = NextWorker(process)
        assert await worker.say() == f"ready {VERSION + 1}"
        yield worker
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace what must be there exactly once."""
    text, count = re.subn(pattern, replacement, path.read_text("utf-8"), flags=re.MULTILINE)
    assert count == 1, f"{pattern} stands {count} times in {path.name}"
    path.write_text(text, "utf-8")


def stored(redis: Redis, store: Store, users: Sequence[str]) -> dict[str, bytes]:
    """The profiles as they lie in Redis, by user."""
    values: list[Any] = redis.mget([store.keys(user).profile for user in users])
    return {user: value for user, value in zip(users, values, strict=True) if value is not None}


async def test_two_versions_work_side_by_side_and_nothing_is_lost(
    redis_url: str, tmp_path: Path
) -> None:
    log = shopping_log(EVENTS, users=USERS, seed=9)
    partitions = partitions_of(log, PARTITIONS)
    rng, done, at = random.Random(9), Counter[str](), [0] * PARTITIONS
    async with (
        learning_worker(redis_url, prefix=PREFIX, timeout_s=PATIENT_S) as old,
        next_worker(tmp_path, redis_url, partitions) as new,
    ):
        with Redis.from_url(redis_url) as redis:
            store, counts = old.parts.store, old.parts.counts
            while left := [p for p in range(PARTITIONS) if at[p] < len(partitions[p])]:
                # Each batch is another rebalance: its partition is now here, now there.
                partition = rng.choice(left)
                batch = partitions[partition][at[partition] :][: rng.randint(1, LARGEST_BATCH)]
                if rng.random() < 0.5:
                    outcome = await by_old(old, redis, batch)
                else:
                    line = f"{partition} {batch[0].offset} {batch[-1].offset}"
                    outcome = f"{await new.say(line)} by the next"
                done[outcome] += 1
                if outcome != "refused by the old":
                    at[partition] += len(batch)
            assert set(done) == {"done by the old", "refused by the old", "done by the next"}
            assert min(done.values()) > 50, done

            expected = {user: profile_bytes(events) for user, events in by_user(log).items()}
            profiles = stored(redis, store, list(expected))
            assert {value[0] for value in profiles.values()} == {VERSION, VERSION + 1}
            for user, value in expected.items():
                assert profiles[user][1 : len(value)] == value[1:], "another profile"
            libraries = redis.function_list(library="nextclick_*")
        assert len(libraries) == 2
        assert count_differences(await stored_counts(counts), expected_counts(log, counts)) == []


async def by_old(old: LearningWorker, redis: Redis, batch: Sequence[FakeRecord]) -> str:
    """The old version's try: it may refuse, and then leaves what the next one has written."""
    users = list({record.key.decode() for record in batch if record.key})
    before = stored(redis, old.parts.store, users)
    newer = {user: value for user, value in before.items() if value[0] > VERSION}
    try:
        await old.try_batch(batch)
    except StoreError as error:
        assert "newer format" in str(error) and newer
        after = stored(redis, old.parts.store, users)
        assert {user: after[user] for user in newer} == newer
        return "refused by the old"
    assert not newer, "the old version has taken a profile that it cannot read"
    return "done by the old"
