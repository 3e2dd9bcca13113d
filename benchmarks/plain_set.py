"""The contender of the ingest path: one profile's bytes for every event, by pipelined SETs.

    python -m benchmarks.plain_set BYTES USERS EVENTS

Nothing is read, merged or counted; redis-py's own pipeline of 256 commands a trip, one in flight.
"""

import argparse
import asyncio
import random

from redis.asyncio import Redis

from benchmarks.pace import Progress, tell_progress
from benchmarks.profile_contender import TTL_MS
from stream.settings import Settings

DEPTH = 256


async def set_values(settings: Settings, size: int, users: int, events: int) -> None:
    """Write until all events are done."""
    redis = Redis.from_url(settings.redis_url)
    chance = random.Random(users)
    value = chance.randbytes(size)
    keys = [f"plain:{chance.getrandbits(128):032x}" for _ in range(users)]
    progress = Progress()
    tell_progress(progress)
    while progress.done < events:
        pipeline = redis.pipeline(transaction=False)
        for _ in range(DEPTH):
            pipeline.set(chance.choice(keys), value, px=TTL_MS)
        await pipeline.execute()
        progress.done += DEPTH
    await redis.aclose()


def main() -> None:
    """Run until all is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bytes", type=int)
    parser.add_argument("users", type=int)
    parser.add_argument("events", type=int)
    asked = parser.parse_args()
    asyncio.run(set_values(Settings(), asked.bytes, asked.users, asked.events))


if __name__ == "__main__":
    main()
