"""Dead letters for tests: written as a worker writes them, looked at as a person does."""

import asyncio
import itertools
import time

from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from model.events import ContractError, Reason
from stream import cli
from stream.deadletter import DeadLetterMessage, Place, dead_letter_message
from stream.kafka import producer_arguments
from stream.settings import Settings, settings_environment
from tests.backends import Broker
from tests.kafka_log import read
from tests.parts import FakeRecord

WORKERS = "workers"
ODD_BYTES = bytes(range(256)) + "茶\u202e\x1b[31m".encode()

Headers = list[tuple[str, bytes]]
_number = itertools.count()


def with_own_topics(settings: Settings, broker: Broker) -> Settings:
    """Settings with events and dead letters of the test's own, three partitions each."""
    number = next(_number)
    names = {"events_topic": f"events-{number}", "dlq_topic": f"dead-{number}"}
    broker.create_topics(dict.fromkeys(names.values(), 3))
    return settings.model_copy(update=names | {"group": WORKERS})


class Letter:
    """A dead letter to be written."""

    def __init__(
        self,
        value: bytes | None,
        reason: Reason = "invalid",
        *,
        key: bytes | None = b"mal",
        headers: Headers | None = None,
        topic: str | None = None,
        partition: int = 0,
    ) -> None:
        self.value, self.key, self.topic, self.partition = value, key, topic, partition
        self.headers = headers or []
        self.error = ContractError(reason, f"broken: {reason}")


def write(settings: Settings, *letters: Letter, most_bytes: int = 3_000_000) -> list[Place]:
    """Write dead letters as a worker does, one millisecond apart."""

    def message(letter: Letter, step: int) -> DeadLetterMessage:
        topic = letter.topic or settings.events_topic
        record = FakeRecord(letter.value, 100 + step, letter.key, topic, 7, letter.headers)
        return dead_letter_message(letter.error, record, most_bytes)

    async def send() -> list[Place]:
        present = int(time.time() * 1000)
        async with AIOKafkaProducer(**producer_arguments(settings)) as producer:
            stored = [
                await producer.send_and_wait(
                    settings.dlq_topic,
                    made.value,
                    key=made.key,
                    headers=made.headers,
                    partition=letter.partition,
                    timestamp_ms=present + step,
                )
                for step, letter in enumerate(letters)
                for made in (message(letter, step),)
            ]
        return [Place(each.partition, each.offset) for each in stored]

    return asyncio.run(send())


def write_foreign(settings: Settings, headers: Headers) -> None:
    """Write a record to the dead-letter topic that is no dead letter of ours."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers) as producer:
            await producer.send_and_wait(settings.dlq_topic, b"?", partition=0, headers=headers)

    asyncio.run(send())


def sent_events(settings: Settings) -> list[tuple[bytes | None, bytes | None, Headers]]:
    """Key, value and headers of everything in the events topic."""
    found = asyncio.run(read(settings.brokers, settings.events_topic))
    return [
        (record.key, record.value, list(record.headers))
        for records in found.values()
        for record in records
    ]


def nextclick(settings: Settings, *arguments: str) -> Result:
    """Run a verb in this process under these settings."""
    environment = settings_environment(settings) | {"NEXTCLICK_CONFIG": "", "COLUMNS": "200"}
    return CliRunner().invoke(cli.app, ["dlq", *arguments], env=environment)
