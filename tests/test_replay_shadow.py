"""``nextclick replay ... --into shadow``, as a person types it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from model.events import Click, Event, encode_event
from serving.learning import learn_waves
from serving.profile import Profile
from serving.waves import in_waves
from stream import cli
from stream.kafka import kafka_python_producer_arguments
from stream.replay.generations import opened
from stream.replay.topic_past import TopicPast
from stream.settings import Settings, settings_environment
from tests.backends import Broker
from tests.parts import NOW
from tests.tiny import tiny_bundle

USERS = 5
pytestmark = pytest.mark.either_backend


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shadow") / "bundle"
    tiny_bundle(path, ["tea", "mug"])
    return path


@pytest.fixture
def settings(
    broker: Broker,
    redis_url: str,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Settings:
    """A topic of the test's own, an empty Redis, and an empty folder."""
    topic = f"events-{request.node.originalname}"
    broker.create_topics({topic: 2})
    found = Settings(
        brokers=broker.bootstrap, events_topic=topic, redis_url=redis_url, bundle=bundle
    )
    for variable, value in settings_environment(found).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    return found


def clicks(count: int) -> list[Event]:
    return [
        Click(
            event_id=f"e{n}", user_id=f"u{n % USERS}", ts=NOW - 9_000_000 + 1_000 * n, item_id="tea"
        )
        for n in range(count)
    ]


def write(settings: Settings, events: Sequence[Event]) -> None:
    with KafkaProducer(**kafka_python_producer_arguments(settings)) as producer:
        for event in events:
            producer.send(settings.events_topic, encode_event(event), event.user_id.encode())
        producer.flush(30)


def replayed(*arguments: object) -> dict[str, Any]:
    command = ["replay", *map(str, arguments), "--into", "shadow", "--json"]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, (done.output, done.exception)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def profiles(settings: Settings, *, lived: bool) -> list[Profile]:
    """Of all users: of the live generation, once it has lived through the topic, or the shadow."""

    async def read() -> list[Profile]:
        async with opened(settings) as (live, generations):
            parts = live if lived else live.for_past(await generations.begin())
            if lived:
                for batch in TopicPast(settings).batches({}):
                    await learn_waves(parts, in_waves(batch.decoded, parts.store.source))
            return [await parts.store.profile(f"u{number}") for number in range(USERS)]

    return asyncio.run(read())


def test_a_topic_becomes_a_shadow_that_equals_having_lived_through_it(settings: Settings) -> None:
    write(settings, clicks(40))
    told = replayed("topic", settings.events_topic)
    assert (told["events"], told["generation"]) == (40, 1)
    assert told["newest"] == clicks(40)[-1].time
    assert sum(told["position"].values()) == 40
    assert profiles(settings, lived=False) == profiles(settings, lived=True)


def test_the_same_command_takes_in_what_has_come_since(settings: Settings) -> None:
    write(settings, clicks(40)[:25])
    assert replayed("topic", settings.events_topic)["events"] == 25
    write(settings, clicks(40)[25:])
    assert replayed("topic", settings.events_topic)["events"] == 15
    assert replayed("topic", settings.events_topic)["events"] == 0
    assert profiles(settings, lived=False) == profiles(settings, lived=True)


def test_files_become_the_same_shadow(settings: Settings, tmp_path: Path) -> None:
    write(settings, clicks(40))
    lines = [encode_event(event) for event in reversed(clicks(40))]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    assert replayed("files", "log.jsonl")["events"] == 40
    assert profiles(settings, lived=False) == profiles(settings, lived=True)


def test_a_dry_run_begins_no_generation(settings: Settings) -> None:
    write(settings, clicks(4))
    told = replayed("topic", settings.events_topic, "--dry-run")
    assert (told["into"], told["total"]) == ("shadow", 4)
    assert any("a shadow generation of profiles and counts" in line for line in told["plan"])
    status = CliRunner().invoke(cli.app, ["replay", "status", "--json"])
    assert json.loads(status.stdout)["building"] is None
