"""``nextclick replay`` as a person types it, and the topics that it reads and writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from model.events import Click, encode_event
from stream.kafka import kafka_python_producer_arguments, kafka_python_reader_arguments
from stream.settings import Settings, settings_environment
from tests.backends import Broker
from tests.command_line import typed_for_json

PARTITIONS = 4
START = 1_700_000_000_000

Verb = Callable[..., tuple[int, dict[str, Any], str]]


def settled(
    broker: Broker, test: str, monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any
) -> Settings:
    """A topic of the past and an events topic of a test's own, in the environment, and a folder."""
    name = test.replace("[", "-").replace("]", "")
    broker.create_topics({f"past-{name}": PARTITIONS, f"events-{name}": PARTITIONS})
    settings = Settings(
        brokers=broker.bootstrap, events_topic=f"events-{name}", group=name, **changes
    )
    for variable, value in settings_environment(settings).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(folder)
    return settings


def replay_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """``nextclick replay ... --json``: exit status, what it told, standard error."""

    def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
        return typed_for_json(monkeypatch, capsys, "replay", *arguments, "--json")

    return run


def past_of(settings: Settings) -> str:
    """The topic of the past."""
    return settings.events_topic.replace("events-", "past-")


def click(number: int) -> bytes:
    """Spaces, so that passing through and encoding anew differ."""
    event = Click(
        event_id=f"e{number}", user_id=f"u{number % 5}", ts=START + 1_000 * number, item_id="i"
    )
    return encode_event(event).replace(b",", b", ")


def write(settings: Settings, values: list[bytes]) -> None:
    """To the topic of the past, the partitions in turn."""
    with KafkaProducer(**kafka_python_producer_arguments(settings)) as producer:
        for number, value in enumerate(values):
            producer.send(
                past_of(settings),
                value,
                b"another key",
                [("trace", b"\xff")],
                partition=number % PARTITIONS,
                timestamp_ms=START + 1_000 * number,
            )
        producer.flush(30)


def written(settings: Settings) -> list[Any]:
    """Every record of the events topic."""
    found: list[Any] = []
    consumer = KafkaConsumer(**kafka_python_reader_arguments(settings))
    try:
        places = [TopicPartition(settings.events_topic, each) for each in range(PARTITIONS)]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        while len(found) < sum(ends.values()):
            for records in consumer.poll(200).values():
                found += records
    finally:
        consumer.close()
    return found
