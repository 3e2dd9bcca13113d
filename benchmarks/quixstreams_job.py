"""The plain job on Quix Streams.

    python -m benchmarks.quixstreams_job GROUP --users N --items N

Written as its documentation has it: a StreamingDataFrame, JSON topics, the profile in its state
store (RocksDB), counts and last lists in Redis. Settings come from the environment. quixstreams
wants an older confluent-kafka than the embedded broker does, so it lives in a folder of its own:

    python -m pip install --target .nextclick/quixstreams quixstreams==3.28.1
"""

import argparse
import importlib
import json
import tempfile
from typing import Any

from redis import Redis

from benchmarks.backlog import Crowd
from benchmarks.pace import Progress, tell_progress
from benchmarks.plain_job import LIST_TTL_S, PlainJob
from stream.settings import Settings


def run(settings: Settings, group: str, job: PlainJob, progress: Progress, folder: str) -> None:
    """Run the application until the process is ended."""
    # By name, as no type checker finds it where it is installed.
    quixstreams = importlib.import_module("quixstreams")

    def count(topic: str, partition: int, offset: int) -> None:
        progress.done += 1
        progress.lists += 1

    app = quixstreams.Application(
        broker_address=settings.brokers,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=folder,
        on_message_processed=count,
        loglevel="WARNING",
    )
    redis = Redis.from_url(settings.redis_url)

    def recommend(event: dict[str, Any], state: Any) -> dict[str, Any]:
        user = event["user_id"]
        history = state.get("history") or job.past(user, event["ts"])
        history = job.learned(history, event)
        state.set("history", history)
        _piped(redis, job.counting(history))
        found = _piped(redis, job.asking(history))
        recommended = job.recommendation(event, history, found)
        redis.set(f"plain:list:{user}", json.dumps(recommended), ex=LIST_TTL_S)
        return recommended

    events = app.topic(settings.events_topic, key_deserializer="str", value_deserializer="json")
    lists = app.topic(settings.recommendations_topic, key_serializer="str", value_serializer="json")
    frame = app.dataframe(events).apply(recommend, stateful=True)
    frame.to_topic(lists)
    app.run()


def _piped(redis: Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
    return pipeline.execute()


def main() -> None:
    """Run until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    asked = parser.parse_args()
    settings, progress = Settings(), Progress()
    job = PlainJob(settings.bundle, Crowd(asked.users, asked.items))
    with tempfile.TemporaryDirectory() as folder:
        tell_progress(progress)
        run(settings, asked.group, job, progress, folder)


if __name__ == "__main__":
    main()
