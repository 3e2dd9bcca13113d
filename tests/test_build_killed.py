"""A build whose process is killed again and again comes to the same profiles and counts."""

import random
import subprocess
import sys

from stream.replay.build import build
from stream.replay.event_past import EventPast
from tests.building_process import killed_log
from tests.parts import open_parts
from tests.past_logs import KeptPosition, are_equal, counts_in, profiles_in

SIZE = 6_000
SEED = 11


def kill_at_trip(url: str, trip: int) -> None:
    """Start a build, or go on with it, and kill it at that trip to Redis."""
    command = [sys.executable, "-m", "tests.building_process", url, str(SIZE), str(SEED)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(trip):
            assert process.stdout.readline().strip() == "trip"
            process.stdin.write("\n")
        process.kill()


async def test_kills_change_nothing(redis_url: str) -> None:
    rng = random.Random(SEED)
    log = killed_log(SIZE, SEED)
    async with open_parts(redis_url) as parts:
        await build(parts, EventPast("log", log), {}, keep=KeptPosition().keep)
        profiles, counts = await profiles_in(parts), await counts_in(parts)
        await parts.store.redis.flushall()
        for _ in range(5):
            kill_at_trip(redis_url, rng.randrange(3, 12))
        done = int(await parts.store.redis.get("kept") or 0)
        await build(parts, EventPast("log", log), {"log": done}, keep=KeptPosition().keep)
        assert done < SIZE
        assert await profiles_in(parts) == profiles
        assert are_equal(counts, await counts_in(parts))
