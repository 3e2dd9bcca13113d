"""The settings of Kafka and of the topics; a part of ``stream.settings``, which reads them."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings

KafkaSecurity: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
TopicName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class KafkaSettings(BaseSettings):
    """How to reach Kafka, and what its topics are."""

    brokers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port, comma separated.")
    kafka_security: KafkaSecurity = Field(
        "PLAINTEXT", description="How to speak to Kafka: TLS is in the names with SSL."
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        "SCRAM-SHA-512", description="How to log in, where the security is a SASL one."
    )
    kafka_username: str | None = Field(
        None, description="SASL user name; beside `kafka_token_url` the client id."
    )
    kafka_password: SecretStr | None = Field(
        None, description="SASL password; beside `kafka_token_url` the client secret."
    )
    kafka_token_file: Path | None = Field(
        None,
        description="File with the token for OAUTHBEARER; it is read at each login, so that "
        "whoever renews the token replaces the file.",
    )
    kafka_token_url: str | None = Field(
        None,
        description="Where a token for OAUTHBEARER is had in exchange for client id and secret "
        "(OAuth 2.0, client credentials), instead of a file: https://, or http:// on this "
        "machine.",
    )
    kafka_token_scope: str | None = Field(None, description="What such a token is asked for.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed Kafka's certificates."
    )
    kafka_cert_file: Path | None = Field(
        None, description="PEM client certificate, where Kafka asks for one."
    )
    kafka_key_file: Path | None = Field(None, description="PEM key of that certificate.")
    kafka_timeout_s: float = Field(
        15, gt=0, le=300, description="A request to Kafka fails after that; nothing hangs."
    )

    group: TopicName = Field("nextclick", description="Consumer group of the workers.")
    events_topic: TopicName = Field("events", description="Where events come from.")
    inputs: str = Field(
        "",
        description="Further topics of events, each with the mapping that its records need, such "
        "as `clicks=segment,searches=./searches.toml` (docs/mapping.md).",
    )
    dlq_topic: TopicName = Field(
        "events.dlq", description="Where records go that break the contract."
    )
    recommendations_topic: TopicName = Field("recommendations", description="Where the lists go.")
    catalog_topic: TopicName = Field("catalog", description="Compacted topic of the items.")
    partitions: PositiveInt = Field(
        16, description="Of each topic made by `nextclick topics`: the most workers that can share."
    )
    replication_factor: PositiveInt = Field(
        1, description="Copies of each partition; 3 wherever data must survive a machine."
    )
    min_insync_replicas: PositiveInt = Field(
        1, description="Copies that must confirm a write; 2 beside a replication of 3."
    )
    events_retention_hours: PositiveInt = Field(
        168, description="How far back events can be read again: a week."
    )
    events_max_message_bytes: int = Field(
        1_048_588,
        ge=1_024,
        le=100_000_000,
        description="Largest record of the events topic (Kafka's default); the dead-letter topic "
        "takes 64 KiB more, for its headers.",
    )

    @property
    def kafka_has_tls(self) -> bool:
        """Whether connections to Kafka are encrypted."""
        return self.kafka_security.endswith("SSL")

    @property
    def kafka_logs_in(self) -> bool:
        """Whether a user logs in, by password or token; a client certificate is no login."""
        return self.kafka_security.startswith("SASL")

    @property
    def kafka_logs_in_by_token(self) -> bool:
        """Whether a token logs in, and no password."""
        return self.kafka_logs_in and self.kafka_sasl_mechanism == "OAUTHBEARER"

    @property
    def input_pairs(self) -> list[tuple[str, str]]:
        """The further topics of events, each with the name or path of its mapping."""
        pairs = [each.partition("=") for each in self.inputs.split(",") if each.strip()]
        return [(topic.strip(), mapping.strip()) for topic, _, mapping in pairs]

    @property
    def input_mappings(self) -> dict[str, str]:
        """The same by topic."""
        return dict(self.input_pairs)

    @property
    def source_topics(self) -> list[str]:
        """All topics that events come from: that of the contract first."""
        return [self.events_topic, *self.input_mappings]
