"""A build whose process is killed again and again comes to the same profiles and counts."""

import random
import subprocess
import sys
import time

from stream.replay.build import build
from stream.replay.event_past import EventPast
from tests.building_process import killed_log
from tests.parts import open_parts
from tests.past_logs import KeptPosition, are_equal, counts_in, profiles_in

SIZE = 6_000
SEED = 11


def killed_after(url: str, seconds: float) -> bool:
    """Start a build, or go on with it, and kill it so long after it began; whether it was still at
    work."""
    command = [sys.executable, "-m", "tests.building_process", url, str(SIZE), str(SEED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        time.sleep(seconds)
        process.kill()
        return "done" not in process.stdout.read()


async def test_kills_change_nothing(redis_url: str) -> None:
    rng = random.Random(SEED)
    log = killed_log(SIZE, SEED)
    async with open_parts(redis_url) as parts:
        await build(parts, EventPast("log", log), {}, keep=KeptPosition().keep)
        profiles, counts = await profiles_in(parts), await counts_in(parts)
        await parts.store.redis.flushall()
        kills = sum(killed_after(redis_url, rng.uniform(0, 0.4)) for _ in range(4))
        done = int(await parts.store.redis.get("kept") or 0)
        await build(parts, EventPast("log", log), {"log": done}, keep=KeptPosition().keep)
        assert kills, "every build came to its end before it was killed"
        assert await profiles_in(parts) == profiles
        assert are_equal(counts, await counts_in(parts))
