"""Apache Kafka with TLS and logins: a worker serves over each, and what is wrong is told."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.events import Click
from stream.embedded_redis import EmbeddedRedis
from stream.kafka_login import BrokerError, LoginError, log_in, require_broker
from stream.settings import Settings
from stream.topics import create_topics
from tests.apache_kafka import PASSWORD, USER, ApacheKafka
from tests.certificates import Authority
from tests.command_line import ended
from tests.shop import running_shop
from tests.tokens import TokenIssuer

pytestmark = pytest.mark.kafka

SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
MUTUAL_TLS = "mutual TLS"


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture(scope="module")
def kafka(
    kafka_classpath: Path, issuer: TokenIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApacheKafka]:
    """With a listener for logins over TLS, and one that asks clients for a certificate."""
    kafka = ApacheKafka(
        kafka_classpath,
        tmp_path_factory.mktemp("secure"),
        listeners=("PLAINTEXT", "SSL", "SASL_SSL"),
        token_keys=[issuer.public_key],
        asks_clients=True,
    )
    with kafka:
        yield kafka


@pytest.fixture
def token_file(issuer: TokenIssuer, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(issuer.token(USER) + "\n")
    return path


def values_for(kafka: ApacheKafka, how: str, token_file: Path) -> dict[str, Any]:
    """The settings of Kafka that log in so."""
    if how == MUTUAL_TLS:
        files = kafka.authority.client("worker")
        return {
            "brokers": kafka.bootstrap_for("SSL"), "kafka_security": "SSL",
            "kafka_ca_file": kafka.authority.ca_file,
            "kafka_cert_file": files.certificate, "kafka_key_file": files.key,
        }  # fmt: skip
    login = {"kafka_username": USER, "kafka_password": PASSWORD}
    return {
        "brokers": kafka.bootstrap_for("SASL_SSL"), "kafka_security": "SASL_SSL",
        "kafka_sasl_mechanism": how, "kafka_ca_file": kafka.authority.ca_file,
        **({"kafka_token_file": token_file} if how == "OAUTHBEARER" else login),
    }  # fmt: skip


@pytest.mark.parametrize("how", [*SASL, MUTUAL_TLS])
def test_a_worker_takes_an_event_and_publishes_a_list(
    kafka: ApacheKafka, redis_server: EmbeddedRedis, token_file: Path, tmp_path: Path, how: str
) -> None:
    name = how.replace(" ", "-")
    settings = Settings(
        redis_url=redis_server.url,
        redis_prefix=name,
        provider="cpu",
        bundle=tmp_path / "bundle",
        partitions=1,
        group=name,
        events_topic=f"{name}.events",
        dlq_topic=f"{name}.dlq",
        recommendations_topic=f"{name}.lists",
        catalog_topic=f"{name}.catalog",
        **values_for(kafka, how, token_file),
    )
    create_topics(settings)
    with running_shop(settings, tmp_path / "shop", workers=1) as shop:
        event = Click(event_id="a", user_id="ana", ts=time.time_ns() // 1_000_000, item_id="tea-1")
        shop.send(event)
        assert len(shop.list_for(event).items) == settings.list_length
        log = shop.workers[0].log.read_text()
    assert PASSWORD not in log
    assert token_file.read_text().strip() not in log


def told(values: dict[str, Any], kind: type[BrokerError] = LoginError) -> str:
    """The one error of a login that fails."""
    with pytest.raises(kind) as caught:
        require_broker(Settings(**values))
    return str(caught.value)


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_told_and_not_shown(
    kafka: ApacheKafka, token_file: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    values = values_for(kafka, how, token_file) | {"kafka_password": "open-barley"}
    said = told(values)
    assert f"refuses the user `{USER}` by {how}" in said
    assert "correct `kafka_username` and `kafka_password`" in said
    assert "open-barley" not in said + caplog.text


def test_an_authority_that_nobody_knows_is_told(
    kafka: ApacheKafka, token_file: Path, tmp_path: Path
) -> None:
    values = values_for(kafka, "PLAIN", token_file)
    stranger = Authority(tmp_path / "stranger").ca_file
    assert "set `kafka_ca_file`" in told(values | {"kafka_ca_file": stranger})
    del values["kafka_ca_file"]
    assert "set `kafka_ca_file`" in told(values)


def test_a_broker_under_a_name_that_its_certificate_lacks_is_told(
    kafka: ApacheKafka, token_file: Path
) -> None:
    values = values_for(kafka, "PLAIN", token_file)
    port = values["brokers"].rpartition(":")[2]
    assert "call the broker in `brokers`" in told(values | {"brokers": f"localhost:{port}"})


def test_a_client_without_certificate_or_with_a_stranger_s_is_told(
    kafka: ApacheKafka, token_file: Path, tmp_path: Path
) -> None:
    values = values_for(kafka, MUTUAL_TLS, token_file)
    stranger = Authority(tmp_path / "stranger").client("worker")
    strange = {"kafka_cert_file": stranger.certificate, "kafka_key_file": stranger.key}
    assert "`kafka_cert_file` and `kafka_key_file`" in told(values | strange, BrokerError)
    none = {"kafka_cert_file": None, "kafka_key_file": None}
    assert "`kafka_cert_file` and `kafka_key_file`" in told(values | none, BrokerError)


@pytest.mark.parametrize(
    "wrong", [{"life_s": -60}, {"audience": "another"}, None], ids=["old", "audience", "stranger"]
)
def test_a_token_that_is_refused_is_told_and_not_shown(
    kafka: ApacheKafka,
    issuer: TokenIssuer,
    token_file: Path,
    wrong: dict[str, Any] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = TokenIssuer().token(USER) if wrong is None else issuer.token(USER, **wrong)
    token_file.write_text(token)
    said = told(values_for(kafka, "OAUTHBEARER", token_file))
    assert "the token of `kafka_token_file`" in said
    assert token not in said + caplog.text


def test_a_listener_of_another_kind_is_told(kafka: ApacheKafka, token_file: Path) -> None:
    values = values_for(kafka, "PLAIN", token_file)
    no_tls = values | {"brokers": kafka.bootstrap_for("PLAINTEXT")}
    assert "does not speak SASL_SSL" in told(no_tls, BrokerError)
    clear = values | {"kafka_security": "SASL_PLAINTEXT", "kafka_ca_file": None}
    assert "does not speak SASL_PLAINTEXT" in told(clear, BrokerError)


async def test_whoever_is_let_in_has_no_error(kafka: ApacheKafka, token_file: Path) -> None:
    for how in (*SASL, MUTUAL_TLS):
        await log_in(Settings(**values_for(kafka, how, token_file)))


@pytest.mark.parametrize(
    "verb", [["worker"], ["check"], ["topics"], ["replay", "topic", "events", "--dry-run"]]
)
def test_each_verb_says_it_in_one_sentence(
    kafka: ApacheKafka, redis_url: str, token_file: Path, tmp_path: Path, verb: list[str]
) -> None:
    from tests.tiny import tiny_bundle

    tiny_bundle(tmp_path / "bundle", ["tea-1"])
    values = values_for(kafka, "SCRAM-SHA-512", token_file) | {"kafka_password": "open-barley"}
    settings = Settings(
        **values, redis_url=redis_url, provider="cpu", bundle=tmp_path / "bundle", log_level="DEBUG"
    )
    run = ended(settings, *verb)
    printed = run.stdout + run.stderr
    assert run.returncode in (1, 2), printed
    assert printed.count(f"refuses the user `{USER}`") == 1
    assert "open-barley" not in printed
    assert "Traceback" not in printed
