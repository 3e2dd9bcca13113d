"""The settings of Redis; a part of ``stream.settings``, which reads them."""

from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

Durability: TypeAlias = Literal["none", "replica", "disk"]


class RedisSettings(BaseSettings):
    """How to reach Redis, and what a write to it waits for."""

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="redis:// or rediss:// (TLS); redis+cluster:// or rediss+cluster:// for Redis "
        "Cluster.",
    )
    redis_username: str | None = Field(
        None, description="User of Redis' access control list, where it does not stand in the URL."
    )
    redis_password: SecretStr | None = Field(
        None, description="Password, where it should not stand in the URL."
    )
    redis_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed Redis' certificate."
    )
    redis_cert_file: Path | None = Field(
        None, description="PEM client certificate, where Redis asks for one."
    )
    redis_key_file: Path | None = Field(None, description="PEM key of that certificate.")
    redis_timeout_s: float = Field(
        5, gt=0, le=60, description="A trip to Redis fails after that and is tried again."
    )
    redis_durability: Durability = Field(
        "none",
        description="What a write to Redis waits for before its event counts as done: nothing, "
        "`replica`s, or the `disk` (docs/durability.md).",
    )
    redis_replicas: int = Field(
        0,
        ge=0,
        le=10,
        description="Replicas that must have a write: at least 1 with `replica`; with `disk`, on "
        "their disks too.",
    )
    redis_prefix: str = Field(
        "nc",
        pattern=r"^[A-Za-z0-9._-]{1,32}$",
        description="Start of every key, so that several installations can share a Redis.",
    )

    @property
    def redis_address(self) -> str:
        """The Redis URL without its credentials, for people to read."""
        url = urlsplit(self.redis_url)
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()

    @property
    def is_cluster(self) -> bool:
        """Whether the URL is that of a Redis Cluster."""
        return "+cluster" in self.redis_url
