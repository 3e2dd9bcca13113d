"""A broker and a Redis of a benchmark's own: Apache Kafka or the embedded one, gone at the end."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from stream.cluster import local_settings
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings
from stream.topics import create_topics, plan_topics
from tests.apache_kafka import ApacheKafka, fetch_kafka

JARS = Path(".nextclick/kafka")


@contextmanager
def servers(broker: str, settings: Settings) -> Iterator[Settings]:
    """Settings that reach a fresh broker (``kafka`` or ``embedded``) with all topics, and a Redis.

    Raises:
        tests.apache_kafka.KafkaMissing: Apache Kafka or Java is not to be had here.
        stream.embedded.EmbeddedError: a server does not start.
    """
    with EmbeddedRedis() as redis:
        if broker == "embedded":
            topics = {plan.name: plan.partitions for plan in plan_topics(settings)}
            with EmbeddedBroker(topics) as embedded:
                yield local_settings(settings, embedded.bootstrap, redis.url)
            return
        jars = fetch_kafka(JARS)
        with (
            tempfile.TemporaryDirectory() as folder,
            ApacheKafka(jars, Path(folder)) as kafka,
        ):
            reached = settings.model_copy(
                update={"brokers": kafka.bootstrap, "redis_url": redis.url}
            )
            create_topics(reached)
            yield reached


def forget_everything(settings: Settings) -> None:
    """Empty Redis; the functions that are loaded stay."""
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()
