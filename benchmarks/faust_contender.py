"""Contenders on stock Faust: the echo of every event, and the plain job.

    python -m benchmarks.faust_contender echo|job GROUP [--users N --items N]

Written as Faust's documentation has it: values decoded by the topic, one event at a time, every
step awaited. Settings come from the environment.
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import faust
from redis.asyncio import Redis

from benchmarks.backlog import Crowd
from benchmarks.pace import Progress, tell_progress
from benchmarks.plain_job import LIST_TTL_S, PlainJob
from stream.settings import Settings


def stock_app(settings: Settings, group: str, data: Path) -> faust.App:
    """Faust as it comes, but for what needs topics made or a port open."""
    return faust.App(
        group,
        broker=f"kafka://{settings.brokers}",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        store="memory://",
        datadir=data,
        web_enabled=False,
        autodiscover=False,
    )


def add_echo(app: faust.App, settings: Settings, progress: Progress) -> None:
    """An agent that sends on what comes in."""
    events = app.topic(settings.events_topic, value_serializer="json")
    lists = app.topic(settings.recommendations_topic, value_serializer="json")

    @app.agent(events)
    async def echo(stream: faust.StreamT[dict[str, Any]]) -> None:
        async for event in stream:
            await lists.send(key=event["user_id"], value=event)
            progress.done += 1


def add_job(app: faust.App, settings: Settings, progress: Progress, job: PlainJob) -> None:
    """An agent that does the plain job."""
    events = app.topic(settings.events_topic, value_serializer="json")
    lists = app.topic(settings.recommendations_topic, value_serializer="json")
    redis = Redis.from_url(settings.redis_url)

    @app.agent(events)
    async def recommend(stream: faust.StreamT[dict[str, Any]]) -> None:
        async for event in stream:
            user = event["user_id"]
            stored = await redis.get(f"plain:profile:{user}")
            history = json.loads(stored) if stored else job.past(user, event["ts"])
            history = job.learned(history, event)
            await redis.set(f"plain:profile:{user}", json.dumps(history))
            await _piped(redis, job.counting(history))
            found = await _piped(redis, job.asking(history))
            recommended = job.recommendation(event, history, found)
            await lists.send(key=user, value=recommended)
            await redis.set(f"plain:list:{user}", json.dumps(recommended), ex=LIST_TTL_S)
            progress.done += 1
            progress.lists += 1


async def _piped(redis: Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute()


def main() -> None:
    """Run until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("echo", "job"))
    parser.add_argument("group")
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--items", type=int, default=0)
    asked = parser.parse_args()
    settings, progress = Settings(), Progress()
    with tempfile.TemporaryDirectory() as data:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        app = stock_app(settings, asked.group, Path(data))
        if asked.kind == "echo":
            add_echo(app, settings, progress)
        else:
            job = PlainJob(settings.bundle, Crowd(asked.users, asked.items))
            add_job(app, settings, progress, job)
        tell_progress(progress)
        # As in Faust's documentation; with less it turns its spinner at every debug message.
        faust.Worker(app, loop=loop, loglevel="info").execute_from_commandline()


if __name__ == "__main__":
    main()
