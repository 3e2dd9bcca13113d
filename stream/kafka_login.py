"""Whether a broker answers, and lets us in: asked by hand, before the clients.

They find out too, but slowly; aiokafka tells only that it could not connect, and kafka-python
leaves its sockets open.
"""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka_security import aiokafka_security
from stream.kafka_token import TokenError
from stream.settings import Settings

CLIENT_ID = "nextclick"
CLOSE_S = 2.0
ATTEMPTS = 3
"""Where a certificate is refused, an end of the connection may come before the reason for it."""
REFUSED = (
    AuthenticationFailedError, IllegalSaslStateError, SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)  # fmt: skip


class BrokerError(RuntimeError):
    """No broker answers; the message says where it was looked for and what to do."""


class LoginError(BrokerError):
    """A broker answers and does not let us in, or is none that we trust; no waiting mends that."""


def require_broker(settings: Settings) -> None:
    """Return where at least one broker accepts connections, and lets us in.

    Raises:
        BrokerError: where none does.
    """
    if settings.kafka_security == "PLAINTEXT":
        _require_listener(settings)
        return
    # This thread may have an event loop at work.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, log_in(settings)).result()


def _require_listener(settings: Settings) -> None:
    reasons = []
    for broker in settings.broker_list:
        try:
            with socket.create_connection(_address(broker), settings.kafka_timeout_s):
                return
        except OSError as error:
            reasons.append(f"{broker}: {error.strerror or error}")
    raise _nobody(reasons)


async def log_in(settings: Settings) -> None:
    """Log in at the first broker that answers, as the settings say, and out again.

    Raises:
        LoginError: it refuses us, or its certificate is not to be trusted.
        BrokerError: no broker answers.
        SettingsError: a certificate or key file cannot be used.
    """
    if settings.kafka_security == "PLAINTEXT":
        return
    reasons = []
    for broker in settings.broker_list:
        try:
            await _log_in_at_last(broker, settings)
            return
        except (OSError, KafkaError) as error:
            if (fault := _fault(settings, error)) is not None:
                raise LoginError(f"Kafka at {broker}: {fault}") from None
            if isinstance(error, _Closed | ConnectionResetError):
                # So it may be for a moment, too, where a broker is about to end.
                raise BrokerError(f"Kafka at {broker}: {_closed(settings)}") from None
            reasons.append(f"{broker}: {getattr(error, 'strerror', None) or _words(error)}")
    raise _nobody(reasons)


async def _log_in_at_last(broker: str, settings: Settings) -> None:
    for _ in range(ATTEMPTS - 1):
        with suppress(ConnectionResetError):
            return await _log_in_at(broker, settings)
    await _log_in_at(broker, settings)


async def _log_in_at(broker: str, settings: Settings) -> None:
    connection = AIOKafkaConnection(
        *_address(broker),
        client_id=CLIENT_ID,
        request_timeout_ms=int(settings.kafka_timeout_s * 1000),
        **aiokafka_security(settings),
    )
    is_connected = False
    try:
        await connection.connect()
        is_connected = True
        # A certificate or token that was refused is told when something is asked for: the one
        # ends the connection, and after the other a broker names no broker.
        told = await connection.send(MetadataRequest([]))
        if not told.brokers:
            raise SaslAuthenticationFailed
    except KafkaConnectionError as error:
        if is_connected or connection._protocol is not None:
            raise _Closed(str(error)) from None
        raise
    finally:
        await _close(connection)


async def _close(connection: AIOKafkaConnection) -> None:
    """Close, and wait for the end of the TLS transport, which takes a trip."""
    closed = connection.close()
    if closed is not None and connection._protocol is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await closed
    # Sockets are closed in the next turns.
    for _ in range(3):
        await asyncio.sleep(0)


class _Closed(KafkaError):  # type: ignore[misc]
    """The broker has taken the connection and ended it."""


def _fault(settings: Settings, error: Exception) -> str | None:
    """What a person has to change; None where waiting may help."""
    security = settings.kafka_security
    match error:
        case TokenError():
            return str(error)
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not to be trusted ({error.verify_message}); set "
                "`kafka_ca_file` to the authority that signed it, and call the broker in `brokers` "
                "by a name that stands in the certificate"
            )
        case ssl.SSLError():
            return (
                f"TLS fails ({error.reason or error}); `kafka_security` {security} needs a "
                "listener that speaks TLS, and where it asks for a certificate one of ours, in "
                "`kafka_cert_file` and `kafka_key_file`"
            )
        case UnsupportedSaslMechanismError():
            return (
                f"it does not take {settings.kafka_sasl_mechanism}; set `kafka_sasl_mechanism` to "
                "one that this listener has (its `sasl.enabled.mechanisms`)"
            )
        case _ if isinstance(error, REFUSED):
            return f"it refuses {_who(settings)}"
    return None


def _closed(settings: Settings) -> str:
    security, reasons = settings.kafka_security, []
    if settings.kafka_has_tls:
        reasons.append(
            "that no certificate of ours came, or none that it trusts: set `kafka_cert_file` and "
            "`kafka_key_file`"
        )
    reasons.append(f"that this listener does not speak {security}: correct `kafka_security`")
    return f"it ends the connection; the reason may be {', or '.join(reasons)}"


def _who(settings: Settings) -> str:
    if settings.kafka_logs_in_by_token:
        source = "kafka_token_file" if settings.kafka_token_file is not None else "kafka_token_url"
        return (
            f"the token of `{source}`, which may have run out or be for another audience: look at "
            "the log of the broker"
        )
    return (
        f"the user `{settings.kafka_username}` by {settings.kafka_sasl_mechanism}; correct "
        "`kafka_username` and `kafka_password`, or `kafka_sasl_mechanism`"
    )


def _nobody(reasons: list[str]) -> BrokerError:
    return BrokerError(
        f"no Kafka broker answers ({'; '.join(reasons)}); start Kafka, or `nextclick up`, or "
        "correct `brokers`"
    )


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _address(broker: str) -> tuple[str, int]:
    host, _, port = broker.rpartition(":")
    return host.strip("[]"), int(port)
