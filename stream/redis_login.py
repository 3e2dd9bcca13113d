"""Whether Redis lets us in, asked once before anything else.

redis-py tells a certificate that is not to be trusted as one of its errors of connection, which a
worker waits out for ever.
"""

import ssl
from collections.abc import Iterator

from redis.asyncio import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from serving.round_trip import RedisClient
from stream.settings import Settings

REFUSED = (
    "it refuses the user or the password; correct `redis_username` and `redis_password`, or those "
    "in `redis_url`, or the user in its access control list (nextclick acl)"
)

RESET = (
    "it ends the connection; the reason may be that no certificate of ours came, or none that it "
    "trusts (`redis_cert_file`, `redis_key_file`), or that we do not trust its (`redis_ca_file`)"
)
ATTEMPTS = 3
"""Where a certificate is refused, an end of the connection may come before the reason for it."""


class RedisLoginError(RuntimeError):
    """Redis answers and does not let us in, or is none that we trust; no waiting mends that."""


async def log_in_to_redis(settings: Settings, client: RedisClient) -> None:
    """Connect as the settings say.

    Raises:
        RedisLoginError: Redis refuses us, or its certificate is not to be trusted.
        redis.RedisError, OSError: no server answers.
    """
    address = settings.redis_address
    for attempt in range(ATTEMPTS):
        try:
            await _connect(client)
            return
        except (RedisError, RedisClusterException, OSError) as error:
            if (fault := _fault(error)) is not None:
                raise RedisLoginError(f"Redis at {address}: {fault}") from None
            if not (address.startswith("rediss") and _is_reset(error)):
                raise
            if attempt == ATTEMPTS - 1:
                raise ConnectionError(f"Redis at {address}: {RESET}") from None


async def _connect(client: RedisClient) -> None:
    if isinstance(client, RedisCluster):
        await client.initialize()
        return
    pool = client.connection_pool
    await pool.release(await pool.get_connection())  # type: ignore[no-untyped-call]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_reset(error: BaseException) -> bool:
    return any(isinstance(each, ConnectionResetError) for each in _causes(error))


def _fault(error: BaseException) -> str | None:
    """What a person has to change; None where waiting may help."""
    for each in _causes(error):
        match each:
            case ssl.SSLCertVerificationError():
                return (
                    f"its certificate is not to be trusted ({each.verify_message}); set "
                    "`redis_ca_file` to the authority that signed it, and call the server in "
                    "`redis_url` by a name that stands in the certificate"
                )
            case ssl.SSLError():
                return (
                    f"TLS fails ({each.reason or each}); rediss:// needs a port that speaks TLS, "
                    "and where it asks for a certificate one of ours, in `redis_cert_file` and "
                    "`redis_key_file`"
                )
            case AuthenticationError():
                return REFUSED
            case ResponseError() if "NOAUTH" in str(each) or "WRONGPASS" in str(each):
                return REFUSED
    return None
