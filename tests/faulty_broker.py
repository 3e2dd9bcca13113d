"""A fake of a broker in trouble: the embedded one, told to refuse requests with chosen errors.

Run as a program, this module is the broker.
"""

import ctypes
from collections.abc import Mapping

from stream import embedded_broker
from stream.embedded import EmbeddedServer

PRODUCE = 0

NOT_LEADER = 6
COORDINATOR_LOADING = 14
NOT_ENOUGH_REPLICAS = 19
OUT_OF_ORDER_SEQUENCE = 45
STORAGE_ERROR = 56


class FaultyBroker(EmbeddedServer):
    """An embedded broker with these topics (name -> partitions) that fails on request."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        listed = ",".join(f"{name}:{partitions}" for name, partitions in topics.items())
        super().__init__(__name__, "confluent_kafka", f"--topics={listed}")

    @property
    def bootstrap(self) -> str:
        """``127.0.0.1:port``."""
        return self.address

    def down(self) -> None:
        """Drop all clients and refuse new ones; what is stored stays."""
        self._command("down")

    def up(self) -> None:
        """Be back."""
        self._command("up")

    def refuse(self, request: int, error: int, times: int) -> None:
        """Answer the next `times` requests of this type with this error."""
        self._command("refuse", str(request), str(error), str(times))


class FaultyCluster(embedded_broker.MockCluster):
    """The mock with one command more: ``refuse REQUEST ERROR TIMES``."""

    def obey(self, command: str, *words: str) -> None:
        """As the mock does."""
        if command != "refuse":
            return super().obey(command, *words)
        request, error, times = map(int, words)
        errors = (ctypes.c_int * times)(*[error] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(times), errors
        )
        return None


if __name__ == "__main__":
    embedded_broker.MockCluster = FaultyCluster  # type: ignore[misc]
    embedded_broker.main()
