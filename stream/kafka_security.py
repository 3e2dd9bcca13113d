"""TLS and logins of the Kafka clients, each in the words of its library."""

import logging
import ssl
from typing import TYPE_CHECKING, Any

from stream.kafka_token import aiokafka_token_provider, kafka_python_token_provider
from stream.settings import Settings, SettingsError

if TYPE_CHECKING:
    from faust.auth import Credentials

for _name in ("aiokafka.conn", "kafka.net", "kafka.producer"):
    # At DEBUG they write what goes over the wire: passwords, tokens, and whatever records hold.
    logging.getLogger(_name).setLevel(logging.INFO)


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of ``kafka_security``, None where there is no TLS.

    Raises:
        SettingsError: when a certificate or key file cannot be used.
    """
    if not settings.kafka_has_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if settings.kafka_cert_file is not None:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file, _no_password)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"the TLS files of Kafka cannot be used ({error}); correct `kafka_ca_file`, "
            "`kafka_cert_file` and `kafka_key_file`"
        ) from None
    return context


def _no_password() -> str:
    """In place of OpenSSL's own question at the terminal, which would hang a worker."""
    raise OSError("the key is encrypted; decrypt it, and let only this user read it")


def aiokafka_security(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client takes."""
    arguments = _transport(settings) | _password(settings)
    if settings.kafka_logs_in_by_token:
        arguments["sasl_oauth_token_provider"] = aiokafka_token_provider(settings)
    return arguments


def kafka_python_security(settings: Settings) -> dict[str, Any]:
    """What every kafka-python client takes."""
    arguments = _transport(settings) | _password(settings)
    if settings.kafka_logs_in_by_token:
        arguments["sasl_oauth_token_provider"] = kafka_python_token_provider(settings)
    return arguments


def faust_credentials(settings: Settings) -> "Credentials | None":
    """Faust's ``broker_credentials``; None for PLAINTEXT."""
    from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

    context = ssl_context(settings)
    if settings.kafka_logs_in_by_token:
        provider = aiokafka_token_provider(settings)
        return OAuthCredentials(oauth_cb=provider, ssl_context=context)
    if settings.kafka_logs_in:
        assert settings.kafka_password is not None
        return SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


def _transport(settings: Settings) -> dict[str, Any]:
    arguments: dict[str, Any] = {"security_protocol": settings.kafka_security}
    if (context := ssl_context(settings)) is not None:
        arguments["ssl_context"] = context
    if settings.kafka_logs_in:
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
    return arguments


def _password(settings: Settings) -> dict[str, Any]:
    if not settings.kafka_logs_in or settings.kafka_logs_in_by_token:
        return {}
    assert settings.kafka_password is not None
    return {
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": settings.kafka_password.get_secret_value(),
    }
