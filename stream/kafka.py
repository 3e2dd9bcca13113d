"""Arguments of the Kafka clients, built from the settings in this one place.

Three clients take part: Faust's aiokafka carries events and lists, a plain aiokafka consumer or
producer reads the catalogue and ingests, and kafka-python makes topics and replays.
"""

import socket
import ssl
from typing import TYPE_CHECKING, Any

from stream.settings import Settings, SettingsError

if TYPE_CHECKING:
    from faust.auth import Credentials

CLIENT_ID = "nextclick"
HEADROOM_BYTES = 64 * 1024
"""What a dead letter takes more than the record it carries: headers with reason and position."""


class BrokerError(RuntimeError):
    """No broker answers; the message says where it was looked for and what to do."""


class TopicError(RuntimeError):
    """A topic is missing, wrong or has lost records; the message says what to do."""


def require_broker(settings: Settings) -> None:
    """Return where at least one broker accepts connections.

    The clients find out too, but slowly, and kafka-python leaves its sockets open.

    Raises:
        BrokerError: where none does.
    """
    reasons = []
    for broker in settings.broker_list:
        host, _, port = broker.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), settings.kafka_timeout_s):
                return
        except OSError as error:
            reasons.append(f"{broker}: {error.strerror or error}")
    raise BrokerError(
        f"no Kafka broker answers ({'; '.join(reasons)}); start Kafka, or `nextclick up`, or "
        "correct `brokers`"
    )


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of ``kafka_security``, None where there is no TLS.

    Raises:
        SettingsError: when a certificate or key file cannot be used.
    """
    if not settings.kafka_security.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if settings.kafka_cert_file is not None:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"the TLS files of Kafka cannot be used ({error}); correct `kafka_ca_file`, "
            "`kafka_cert_file` and `kafka_key_file`"
        ) from None
    return context


def aiokafka_arguments(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client (consumer, producer, admin) takes."""
    timeout_ms = int(settings.kafka_timeout_s * 1000)
    return {
        "bootstrap_servers": settings.broker_list,
        "client_id": CLIENT_ID,
        "request_timeout_ms": timeout_ms,
        **_security(settings),
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
        **_security(settings),
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


def faust_credentials(settings: Settings) -> "Credentials | None":
    """Faust's ``broker_credentials``; None for PLAINTEXT."""
    from faust.auth import SASLCredentials, SSLCredentials

    context = ssl_context(settings)
    if settings.kafka_security.startswith("SASL"):
        assert settings.kafka_password is not None
        return SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


def _security(settings: Settings) -> dict[str, Any]:
    arguments: dict[str, Any] = {"security_protocol": settings.kafka_security}
    if (context := ssl_context(settings)) is not None:
        arguments["ssl_context"] = context
    if settings.kafka_security.startswith("SASL"):
        assert settings.kafka_password is not None
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_username
        arguments["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return arguments
