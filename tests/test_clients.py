"""Client arguments built from the settings: logins, TLS, time-outs, one server or a cluster."""

import ssl
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials
from redis.asyncio import Redis, RedisCluster

from model.events import ContractError
from stream.deadletter import DEAD_LETTER_HEADERS, dead_letter_headers, read_dead_letter
from stream.kafka import (
    aiokafka_arguments,
    consumer_arguments,
    kafka_python_arguments,
    producer_arguments,
)
from stream.kafka_security import faust_credentials
from stream.redis_client import redis_client
from stream.settings import Settings, SettingsError

LOGIN = {"kafka_username": "shop", "kafka_password": "hunter2"}


def test_plaintext_has_neither_login_nor_tls() -> None:
    settings = Settings(brokers="a:1,b:2")
    for arguments in (aiokafka_arguments(settings), kafka_python_arguments(settings)):
        assert arguments["bootstrap_servers"] == ["a:1", "b:2"]
        assert arguments["security_protocol"] == "PLAINTEXT"
        assert not any(name.startswith(("sasl", "ssl")) for name in arguments)
        assert arguments["request_timeout_ms"] == 15_000
    assert faust_credentials(settings) is None


def test_sasl_reaches_all_three_clients() -> None:
    settings = Settings(
        kafka_security="SASL_PLAINTEXT", kafka_sasl_mechanism="SCRAM-SHA-256", **LOGIN
    )
    for arguments in (aiokafka_arguments(settings), kafka_python_arguments(settings)):
        assert arguments["security_protocol"] == "SASL_PLAINTEXT"
        assert arguments["sasl_mechanism"] == "SCRAM-SHA-256"
        assert arguments["sasl_plain_username"] == "shop"
        assert arguments["sasl_plain_password"] == "hunter2"
        assert "ssl_context" not in arguments
    credentials = faust_credentials(settings)
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.username, credentials.password) == ("shop", "hunter2")
    assert credentials.protocol.value == "SASL_PLAINTEXT"
    assert credentials.mechanism.value == "SCRAM-SHA-256"


@pytest.mark.parametrize("security", ["SSL", "SASL_SSL"])
def test_tls_checks_certificate_and_host_name(security: str) -> None:
    settings = Settings(kafka_security=security, **(LOGIN if "SASL" in security else {}))
    for arguments in (aiokafka_arguments(settings), kafka_python_arguments(settings)):
        context = arguments["ssl_context"]
        assert isinstance(context, ssl.SSLContext)
        assert context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert arguments["security_protocol"] == security
    credentials = faust_credentials(settings)
    assert isinstance(credentials, SASLCredentials if "SASL" in security else SSLCredentials)
    assert credentials.protocol.value == security


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = Settings(kafka_security="SSL", kafka_ca_file=tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match="the TLS files of Kafka cannot be used"):
        aiokafka_arguments(settings)


def test_a_producer_loses_nothing_and_takes_what_the_dead_letter_topic_takes() -> None:
    arguments = producer_arguments(Settings(events_max_message_bytes=2_000_000))
    assert arguments["acks"] == "all"
    assert arguments["enable_idempotence"] is True
    assert arguments["max_request_size"] == 2_000_000 + 64 * 1024


def test_a_reader_stands_outside_of_every_group_and_never_skips() -> None:
    arguments = consumer_arguments(Settings())
    assert arguments["group_id"] is None
    assert arguments["enable_auto_commit"] is False
    assert arguments["auto_offset_reset"] == "none"


async def test_a_redis_of_one_server(tmp_path: Path) -> None:
    client = redis_client(
        Settings(redis_url="redis://shop@redis:7000/2", redis_password="p", redis_timeout_s=3)
    )
    assert isinstance(client, Redis)
    wanted = {
        "host": "redis", "port": 7000, "db": 2, "username": "shop", "password": "p",
        "socket_timeout": 3, "socket_connect_timeout": 3,
    }  # fmt: skip
    assert client.connection_pool.connection_kwargs.items() >= wanted.items()
    await client.aclose()


async def test_a_redis_cluster_with_tls(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    client = redis_client(
        Settings(redis_url="rediss+cluster://redis:7000", redis_ca_file=authority)
    )
    assert isinstance(client, RedisCluster)
    kwargs = client.connection_kwargs
    assert kwargs["ssl_ca_certs"] == str(authority)
    assert kwargs["ssl_cert_reqs"] == "required"
    assert kwargs["socket_timeout"] == 5
    await client.aclose()


def test_the_headers_of_a_dead_letter() -> None:
    error = ContractError("id_length", "`用户` has 300 bytes")
    headers = dead_letter_headers(error, "events", 3, 17)
    assert [name for name, _ in headers] == list(DEAD_LETTER_HEADERS)
    assert read_dead_letter([*headers, ("trace", b"\xff")]) == {
        "nextclick-reason": "id_length",
        "nextclick-detail": "`用户` has 300 bytes",
        "nextclick-topic": "events",
        "nextclick-partition": "3",
        "nextclick-offset": "17",
    }


def test_a_detail_is_cut_and_always_utf_8() -> None:
    error = ContractError("invalid", "\ud800" + "茶" * 100_000)
    assert sum(len(value) for _, value in dead_letter_headers(error, "events", 0, 0)) < 10_000
    assert read_dead_letter(dead_letter_headers(error, "e", 0, 0))["nextclick-detail"][0] == "?"
