"""A log that workers have lived through, and the same log replayed: the same, byte for byte.

Each replay is the command that a person types, in a process of its own.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaProducer

from model.events import Event, encode_event
from serving.generations import Generations
from stream.kafka import kafka_python_producer_arguments
from stream.replay.compare import Comparing
from stream.replay.comparison import Comparison
from stream.replay.generations import learning_parts
from stream.settings import Settings, child_environment
from tests.crowd import GUARD_S, fleet
from tests.kafka_log import committed, read
from tests.past_logs import past_log

EVENTS = 1_500
SEED = 7
pytestmark = pytest.mark.either_backend


class Lived(NamedTuple):
    """What workers have lived through."""

    settings: Settings
    log: list[Event]


@pytest.fixture(scope="module")
def lived(stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Late and doubled events, learnt by two workers."""
    log = past_log(random.Random(SEED), EVENTS, late_minutes=45)
    with fleet(stream_settings, tmp_path_factory.mktemp("workers"), 2):
        write_log(stream_settings, log)
        asyncio.run(served(stream_settings, len(log)))
    return Lived(stream_settings, log)


def write_log(settings: Settings, events: Sequence[Event]) -> None:
    """Write events into the topic, keyed by their users."""
    with KafkaProducer(**kafka_python_producer_arguments(settings)) as producer:
        for event in events:
            producer.send(settings.events_topic, encode_event(event), event.user_id.encode())
        producer.flush(30)


async def served(settings: Settings, events: int) -> None:
    """Return once the group has committed so many."""
    async with asyncio.timeout(GUARD_S):
        done = 0
        while done < events:
            await asyncio.sleep(0.1)
            offsets = await committed(settings.brokers, settings.group, settings.events_topic)
            done = sum(offsets.values())


@contextmanager
def shadow_of(settings: Settings) -> Iterator[Callable[[], Comparison]]:
    """A new shadow generation, gone at the end; what is yielded compares it with the live one."""

    async def compared() -> Comparison:
        parts = learning_parts(settings)
        try:
            pointer = await Generations(parts.store).read()
            assert pointer.building is not None
            one, two = (parts.for_past(each) for each in (pointer.live, pointer.building))
            return await Comparing((one.store, one.counts), (two.store, two.counts)).all()
        finally:
            await parts.store.redis.aclose()

    yield lambda: asyncio.run(compared())
    told = nextclick(settings, "replay", "status", "--json")
    nextclick(settings, "replay", "drop", str(told["building"]), "--yes", "--json")


def nextclick(settings: Settings, *arguments: str, folder: Path | None = None) -> dict[str, Any]:
    """Run a command to its end; returns what it prints as JSON."""
    with started(settings, *arguments, folder=folder) as process:
        printed, told = process.communicate(timeout=GUARD_S)
        assert process.returncode == 0, told
    found: dict[str, Any] = json.loads(printed)
    return found


def started(
    settings: Settings, *arguments: str, folder: Path | None = None
) -> subprocess.Popen[str]:
    """A command that runs, in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stream.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=child_environment(settings) | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )


def _stamp_in_the_middle(settings: Settings) -> int:
    found = asyncio.run(read(settings.brokers, settings.events_topic))
    stamps = sorted(record.timestamp for records in found.values() for record in records)
    return int(stamps[len(stamps) // 2])


def assert_lived_through(found: Comparison) -> None:
    """Every profile has the same bytes, and every count is there."""
    assert found.profiles_equal
    assert found.counts_equal
    assert found.is_equal, found


def file_of(path: Path, events: Sequence[Event]) -> str:
    path.write_bytes(b"\n".join(map(encode_event, events)))
    return str(path)


def test_the_topic_replayed_is_the_topic_lived_through(lived: Lived, tmp_path: Path) -> None:
    settings = lived.settings
    with shadow_of(settings) as compared:
        topic = "replay", "topic", settings.events_topic, "--into", "shadow", "--json"
        assert nextclick(settings, *topic, folder=tmp_path)["events"] == len(lived.log)
        assert_lived_through(compared())


@pytest.mark.parametrize("copies", [1, 2], ids=["once", "doubled"])
def test_a_shuffled_file_is_the_log_lived_through(
    lived: Lived, tmp_path: Path, copies: int
) -> None:
    settings, rows = lived.settings, lived.log * copies
    random.Random(SEED).shuffle(rows)
    with shadow_of(settings) as compared:
        log = file_of(tmp_path / "log.jsonl", rows)
        files = "replay", "files", log, "--into", "shadow", "--json"
        assert nextclick(settings, *files, folder=tmp_path)["events"] == len(rows)
        assert_lived_through(compared())


def test_two_replays_at_once_are_one(lived: Lived, tmp_path: Path) -> None:
    settings = lived.settings
    log = file_of(tmp_path / "log.jsonl", lived.log)
    files = "replay", "files", log, "--into", "shadow", "--json"
    with shadow_of(settings) as compared:
        with (
            started(settings, *files, folder=tmp_path) as one,
            started(settings, *files, folder=tmp_path) as other,
        ):
            told = [each.communicate(timeout=GUARD_S)[1] for each in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), told
        assert_lived_through(compared())


def test_a_replay_that_is_killed_and_begun_again_loses_nothing(
    lived: Lived, tmp_path: Path
) -> None:
    settings, rng = lived.settings, random.Random(SEED)
    log = file_of(tmp_path / "log.jsonl", lived.log)
    files = "replay", "files", log, "--into", "shadow", "--json"
    with shadow_of(settings) as compared:
        for _ in range(3):
            with started(settings, *files, folder=tmp_path) as process:
                time.sleep(rng.uniform(0.5, 2.5))
                os.kill(process.pid, signal.SIGKILL)
        nextclick(settings, *files, folder=tmp_path)
        assert_lived_through(compared())


@pytest.mark.kafka  # the embedded broker knows no offsets by time
def test_a_topic_replayed_by_time_is_the_topic_lived_through(lived: Lived, tmp_path: Path) -> None:
    settings = lived.settings
    middle = str(_stamp_in_the_middle(settings))
    topic = "replay", "topic", settings.events_topic, "--into", "shadow", "--json"
    with shadow_of(settings) as compared:
        before = nextclick(settings, *topic, "--to", middle, folder=tmp_path)["events"]
        after = nextclick(settings, *topic, "--from", middle, folder=tmp_path)["events"]
        assert 0 < before < len(lived.log)
        assert before + after == len(lived.log)
        assert_lived_through(compared())
