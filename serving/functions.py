"""The server-side functions: ``functions.lua`` and those beside it, with this version's numbers."""

from hashlib import sha256
from importlib.resources import files
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
)

from model.traits import MOST_ATTRIBUTES
from serving.profile import IDENTITY_BYTES, OLDEST_VERSION, SECTIONS, VERSION
from serving.round_trip import RedisClient, StoreError

MOST_ADMISSIONS = 10
"""Of one user between two counts; what fits behind a full profile without another size class."""
STAMP_BYTES = 8
"""Random, at the end of a stored value: no other value has them."""


class FunctionLibrary:
    """The server-side functions, named by the hash of their own text.

    Two versions of nextclick therefore use two libraries, and neither overwrites the other's.

    Args:
        version: format of the profiles that it writes.
        text: of the functions, where it is not ``library_text()``.
    """

    def __init__(self, version: int = VERSION, text: str | None = None) -> None:
        code = text or library_text()
        for name, value in _constants(version).items():
            code = code.replace(f"@{name}@", str(value))
        self.name = "nextclick_" + sha256(code.encode()).hexdigest()[:12]
        self._code = code.replace("@LIBRARY@", self.name)

    async def load(self, redis: RedisClient) -> None:
        """Load the library on every primary, unless it is there.

        Raises:
            StoreError: the server is older than Redis 7, or forbids FUNCTION.
            redis.RedisError: it is away, or cannot write at present.
        """
        try:
            if await self._is_loaded(redis):
                # A user of Redis who may only read needs no more.
                return
            if isinstance(redis, RedisCluster):
                # redis-py's function_load takes no nodes.
                await redis.execute_command(
                    "FUNCTION LOAD", "REPLACE", self._code, target_nodes=RedisCluster.PRIMARIES
                )
            else:
                await redis.function_load(self._code, replace=True)
        except (ReadOnlyError, OutOfMemoryError, ClusterDownError):
            raise  # that passes
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error  # so does that: no node answers
        except ResponseError as error:
            raise StoreError(
                f"Redis refused FUNCTION LOAD ({error}); nextclick needs Redis 7 or later, or "
                "Valkey, and a user that may run FUNCTION LOAD (nextclick acl prints all it needs) "
                "or a worker of this version that has done so"
            ) from error

    async def _is_loaded(self, redis: RedisClient) -> bool:
        """Whether every primary has the library, as far as this user may know."""
        command: Any = redis.execute_command
        targets: list[dict[str, Any]] = [{}]
        if isinstance(redis, RedisCluster):
            await redis.initialize()
            targets = [{"target_nodes": node} for node in redis.get_primaries()]
        try:
            found = [
                await command("FUNCTION LIST", "LIBRARYNAME", self.name, **target)
                for target in targets
            ]
        except NoPermissionError:
            return False
        return all(found)


def library_text() -> str:
    """All server-side functions, with places for this version's numbers."""
    folder = files("serving")
    return "\n".join(
        folder.joinpath(name).read_text("utf-8")
        for name in (
            "functions.lua",
            "count_rows.lua",
            "counts.lua",
            "feedback.lua",
            "bulk.lua",
        )
    )


def _constants(version: int) -> dict[str, str | int]:
    return {
        "VERSION": version,
        "OLDEST_VERSION": OLDEST_VERSION,
        "WIDTHS": ", ".join(str(section.width) for section in SECTIONS),
        "BOUNDS": ", ".join(str(section.bound) for section in SECTIONS),
        "IDENTITY_BYTES": IDENTITY_BYTES,
        "MOST_ATTRIBUTES": MOST_ATTRIBUTES,
        "MOST_ADMISSIONS": MOST_ADMISSIONS,
        "STAMP_BYTES": STAMP_BYTES,
    }
