"""The Redis client of the settings: one server or a cluster, by the scheme of the URL."""

from typing import Any

import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from serving.round_trip import RedisClient
from stream.settings import Settings

UNNAMED: dict[str, Any] = (
    {"driver_info": None}
    if hasattr(redis, "DriverInfo")  # since 7.2
    else {"lib_name": None, "lib_version": None}
)
"""Else each new connection tells redis-py's name, by a command that Redis 7.0 does not know."""


def redis_client(settings: Settings) -> RedisClient:
    """A client with hard time-outs, not yet connected. Close it with ``await client.aclose()``.

    A command is tried again once on a new connection (Redis may have been restarted in between);
    on a cluster three times, since a failover moves slots. All that is written here may be
    written twice.
    """
    cluster = settings.is_cluster
    arguments: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 3 if cluster else 1),
        # Nobody subscribes here; version 3 would send one more request per new connection.
        "protocol": 2,
        **UNNAMED,
    }
    if settings.redis_username is not None:
        arguments["username"] = settings.redis_username
    if settings.redis_password is not None:
        arguments["password"] = settings.redis_password.get_secret_value()
    if settings.redis_ca_file is not None:
        arguments["ssl_ca_certs"] = str(settings.redis_ca_file)
    if settings.redis_cert_file is not None:
        arguments["ssl_certfile"] = str(settings.redis_cert_file)
        arguments["ssl_keyfile"] = str(settings.redis_key_file)
    if cluster:
        return RedisCluster.from_url(settings.redis_url.replace("+cluster", "", 1), **arguments)
    return Redis.from_url(settings.redis_url, **arguments)
