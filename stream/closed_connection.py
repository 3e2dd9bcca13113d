"""Writes to a connection that is closed, of which the two event loops tell in different ways.

asyncio's own drops them, and the end of the connection is told elsewhere. libuv's raises
RuntimeError, which aiokafka takes for a fault of the program: where a broker was killed in the
wrong moment, its coordinator would give up, and the worker would end.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

WRITING = ("send", "_send_sasl_token")


def take_for_broken() -> None:
    """Have all of aiokafka's connections in this process take them for broken connections."""
    for name in WRITING:
        write = getattr(AIOKafkaConnection, name)
        if not hasattr(write, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _telling(write))


def _telling(write: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(write)
    def written(connection: AIOKafkaConnection, *arguments: Any, **named: Any) -> Any:
        try:
            return write(connection, *arguments, **named)
        except RuntimeError as error:
            writer = connection._writer
            if writer is None or not writer.transport.is_closing():
                raise
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"the connection to Kafka is closed: {error}") from error

    return written
