"""Whether Redis lets us in, asked once before anything else.

redis-py tells a certificate that is not to be trusted as one of its errors of connection, which a
worker waits out for ever.
"""

import ssl

from redis.asyncio import RedisCluster
from redis.exceptions import (
    AuthenticationError,
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


class RedisLoginError(RuntimeError):
    """Redis answers and does not let us in, or is none that we trust; no waiting mends that."""


async def log_in_to_redis(settings: Settings, client: RedisClient) -> None:
    """Connect as the settings say.

    Raises:
        RedisLoginError: Redis refuses us, or its certificate is not to be trusted.
        redis.RedisError, OSError: no server answers.
    """
    try:
        if isinstance(client, RedisCluster):
            await client.initialize()
            return
        pool = client.connection_pool
        await pool.release(await pool.get_connection())  # type: ignore[no-untyped-call]
    except (RedisError, RedisClusterException, OSError) as error:
        fault = _fault(error)
        if fault is None:
            raise
        raise RedisLoginError(f"Redis at {settings.redis_address}: {fault}") from None


def _fault(error: BaseException | None) -> str | None:
    """What a person has to change; None where waiting may help."""
    while error is not None:
        match error:
            case ssl.SSLCertVerificationError():
                return (
                    f"its certificate is not to be trusted ({error.verify_message}); set "
                    "`redis_ca_file` to the authority that signed it, and call the server in "
                    "`redis_url` by a name that stands in the certificate"
                )
            case ssl.SSLError():
                return (
                    f"TLS fails ({error.reason or error}); rediss:// needs a port that speaks TLS, "
                    "and where it asks for a certificate one of ours, in `redis_cert_file` and "
                    "`redis_key_file`"
                )
            case AuthenticationError():
                return REFUSED
            case ResponseError() if "NOAUTH" in str(error) or "WRONGPASS" in str(error):
                return REFUSED
        error = error.__cause__ or error.__context__
    return None
