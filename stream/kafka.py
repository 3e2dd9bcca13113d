"""Arguments of the Kafka clients, built from the settings in this one place.

Three clients take part: Faust's aiokafka carries events and lists, a plain aiokafka consumer or
producer reads the catalogue and ingests, and kafka-python makes topics and replays.
"""

from typing import Any

from stream.closed_connection import take_for_broken
from stream.kafka_login import CLIENT_ID
from stream.kafka_security import aiokafka_security, kafka_python_security
from stream.settings import Settings

HEADROOM_BYTES = 64 * 1024
"""What a dead letter takes more than the record it carries: headers with reason and position."""


class TopicError(RuntimeError):
    """A topic is missing, wrong or has lost records; the message says what to do."""


def way_to_a_topic(settings: Settings) -> str:
    """What to do where there is no such topic: one that we may not describe looks the same."""
    may_be_hidden = settings.kafka_security != "PLAINTEXT"
    allow = ", or let this user see it (`nextclick acl --of kafka`)" if may_be_hidden else ""
    return f"create it with `nextclick topics`{allow}"


def no_topic(settings: Settings, topic: str) -> TopicError:
    """The error of a topic that is not there."""
    return TopicError(
        f"there is no topic `{topic}` at {settings.brokers}; {way_to_a_topic(settings)}"
    )


def aiokafka_arguments(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client (consumer, producer, admin) takes."""
    take_for_broken()
    timeout_ms = int(settings.kafka_timeout_s * 1000)
    return {
        "bootstrap_servers": settings.broker_list,
        "client_id": CLIENT_ID,
        "request_timeout_ms": timeout_ms,
        **aiokafka_security(settings),
    }


def producer_arguments(settings: Settings) -> dict[str, Any]:
    """An aiokafka producer whose acknowledged records are stored once on every in-sync copy.

    Its partitioner is aiokafka's default, murmur2 of the key as in Java and kafka-python, so that
    all producers agree on the partition of a user or an item.
    """
    return {
        **aiokafka_arguments(settings),
        "acks": "all",
        "enable_idempotence": True,
        "max_request_size": settings.events_max_message_bytes + HEADROOM_BYTES,
    }


def consumer_arguments(settings: Settings) -> dict[str, Any]:
    """An aiokafka consumer that stands outside every group and reads assigned partitions."""
    return {
        **aiokafka_arguments(settings),
        "group_id": None,
        "enable_auto_commit": False,
        # An offset that is gone must be seen, not skipped.
        "auto_offset_reset": "none",
        "max_partition_fetch_bytes": settings.events_max_message_bytes + HEADROOM_BYTES,
        # The embedded broker lets a fetch wait to its end, whatever arrives meanwhile.
        "fetch_max_wait_ms": 10 if settings.embedded else 500,
    }


def kafka_python_arguments(settings: Settings) -> dict[str, Any]:
    """What every kafka-python client takes."""
    timeout_ms = int(settings.kafka_timeout_s * 1000)
    arguments = {
        "bootstrap_servers": settings.broker_list,
        "client_id": CLIENT_ID,
        "request_timeout_ms": timeout_ms,
        "bootstrap_timeout_ms": timeout_ms,
        **kafka_python_security(settings),
    }
    return arguments


def kafka_python_reader_arguments(settings: Settings) -> dict[str, Any]:
    """A kafka-python consumer that stands outside every group and reads assigned partitions."""
    return {
        **kafka_python_arguments(settings),
        "group_id": None,
        "enable_auto_commit": False,
        # Asked for by name, a topic would be made by a broker that does so.
        "allow_auto_create_topics": False,
        # An offset that is gone must be seen, not skipped.
        "auto_offset_reset": "none",
        # The embedded broker lets a fetch wait to its end, whatever arrives meanwhile.
        "fetch_max_wait_ms": 10 if settings.embedded else 500,
        "metrics_enabled": False,
    }


def kafka_python_producer_arguments(settings: Settings) -> dict[str, Any]:
    """A kafka-python producer whose acknowledged records are stored once on every in-sync copy.

    Its partitioner is murmur2 of the key, as everywhere else.
    """
    return {
        **kafka_python_arguments(settings),
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "max_request_size": settings.events_max_message_bytes + HEADROOM_BYTES,
        "metrics_enabled": False,
    }
