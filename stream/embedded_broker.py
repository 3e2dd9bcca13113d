"""A Kafka broker without Java or Docker: librdkafka's mock cluster in a child process of ours.

confluent-kafka bundles the library that holds the mock cluster; no Python binding exists, so the
child reaches it with ctypes. Clients talk to it through `stream.embedded_gate`. Facts about it, as
measured with librdkafka 2.16.1, that its users must know:

- **It forgets, and tells nobody.** Of each partition it keeps 5 MiB of record batches, as they
  came (compressed ones count compressed); the oldest go, acknowledged or not, read or not. Of
  60,000 records of 253 random bytes on one partition 18,178 could be read; as JSON under gzip all
  could. A batch above 5 MiB is acknowledged and can never be read. No call lifts the limit: use 16
  partitions, read back what was written, keep lag short.
- All is in memory: topics, records and committed offsets survive an `outage`, not a `stop`.
- Records of 40 MB were accepted, of 99 MB not. A producer is told the timestamp 1234; the record
  keeps its own.
- A topic that a client asks for by name is made on the spot, with 4 partitions.
- There is no CreateTopics or DeleteTopics, no topic settings, no compaction, no listing of groups,
  no offsets by time (the answer is always: none), no TLS, no SASL. Aborted transactions are
  visible. Idempotent producers work with all three clients.
- One fetch brings one batch per partition: records sent one by one are read at some 4,000/s, in
  batches at some 400,000/s.
- Only the first join of a group is quick. Each later rebalance (a member joins, leaves or joins
  again) takes the session timeout less a second, and the partitions of a member that was killed
  move after about twice that: 7.1 s and 15.9 s with a session of 8 s. kafka-python's consumer now
  and then joins twice at its start: give it a short `session_timeout_ms`, or read without a group.
"""

import argparse
import asyncio
import ctypes
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stream.embedded import EmbeddedError, EmbeddedServer, outlive_nobody, say
from stream.embedded_gate import Gate

BROKERS = 1
FIRST_JOIN_MS = 100  # Kafka's own default is 3,000
RD_KAFKA_PRODUCER = 0  # from rdkafka.h
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class EmbeddedBroker(EmbeddedServer):
    """A one-broker Kafka cluster on 127.0.0.1.

    Everything is kept in memory and gone after `stop`; the page of this module lists the limits.

    Args:
        topics: name -> number of partitions.
        first_join_ms: how long a new group waits for further members before it divides the
            partitions. One that comes later causes a slow rebalance: give workers that start
            together time to meet.

    Raises:
        EmbeddedError: a name or a number of partitions that Kafka would not take.
    """

    def __init__(self, topics: Mapping[str, int], *, first_join_ms: int = FIRST_JOIN_MS) -> None:
        for name, partitions in topics.items():
            _check_topic(name, partitions)
        listed = ",".join(f"{name}:{partitions}" for name, partitions in topics.items())
        super().__init__(
            __name__, "confluent_kafka", f"--topics={listed}", f"--first-join-ms={first_join_ms}"
        )

    @property
    def bootstrap(self) -> str:
        """The ``bootstrap.servers`` of clients: ``127.0.0.1:port``."""
        return self.address

    def create_topic(self, name: str, partitions: int) -> None:
        """Add a topic; raises `EmbeddedError` where it exists or its name is not a legal one."""
        _check_topic(name, partitions)
        self._command("topic", name, str(partitions))

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Inside the block the broker is away: it drops its clients and refuses new ones.

        Afterwards it is back at the same address with all its records and committed offsets.
        """
        self._command("down")
        try:
            yield
        finally:
            self._command("up")


def _check_topic(name: str, partitions: int) -> None:
    if not TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
        raise EmbeddedError(
            f"{name!r} is not a topic name: use 1 to 249 of the characters a-z A-Z 0-9 . _ -"
        )
    if partitions < 1:
        raise EmbeddedError(f"Topic {name} needs at least one partition, not {partitions}.")


class MockCluster:
    """The few calls of ``rdkafka_mock.h`` that the child makes."""

    def __init__(self, library: ctypes.CDLL, first_join_ms: int) -> None:
        self._library = library
        for function in ("conf_new", "new", "mock_cluster_new"):
            getattr(library, f"rd_kafka_{function}").restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_err2str.restype = ctypes.c_char_p
        reason = ctypes.create_string_buffer(512)
        # The cluster belongs to a client, which has no broker to connect to and stays idle.
        client = library.rd_kafka_new(
            RD_KAFKA_PRODUCER,
            ctypes.c_void_p(library.rd_kafka_conf_new()),
            reason,
            ctypes.c_size_t(len(reason)),
        )
        if not client:
            raise EmbeddedError(f"librdkafka made no client: {reason.value.decode()}")
        cluster = library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), BROKERS)
        if not cluster:
            raise EmbeddedError("librdkafka made no mock cluster: no free socket on 127.0.0.1?")
        self._cluster = ctypes.c_void_p(cluster)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, first_join_ms)

    @property
    def port(self) -> int:
        """Where the mock itself listens on 127.0.0.1."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return int(address.rpartition(b":")[2])

    def advertise(self, port: int) -> None:
        """Tell clients to come to this port instead of `port`."""
        self._library.rd_kafka_mock_broker_set_host_port(self._cluster, BROKERS, b"127.0.0.1", port)

    def obey(self, command: str, *words: str) -> None:
        """``topic NAME PARTITIONS``, ``down`` or ``up``; raises `EmbeddedError` with the reason."""
        if command == "topic":
            name, partitions = words
            error = self._library.rd_kafka_mock_topic_create(
                self._cluster, name.encode(), int(partitions), BROKERS
            )
        else:
            switch = getattr(self._library, f"rd_kafka_mock_broker_set_{command}")
            error = switch(self._cluster, BROKERS)
        if error:
            reason: bytes = self._library.rd_kafka_err2str(error)
            raise EmbeddedError(f"{command} {' '.join(words)}: {reason.decode()}")


def bundled_library() -> Path:
    """The librdkafka that confluent-kafka is linked with, wherever its package keeps it."""
    import confluent_kafka.cimpl  # noqa: F401  (importing it maps the library)

    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split()[-1]
        if "librdkafka" in path:
            return Path(path)
    raise EmbeddedError(
        "confluent-kafka is installed without a shared librdkafka: install its wheel from PyPI."
    )


def main() -> None:
    """Serve until standard input ends; its lines are commands: topic NAME PARTITIONS, down, up."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--topics", default="", metavar="NAME:PARTITIONS,...")
    parser.add_argument("--first-join-ms", type=int, default=FIRST_JOIN_MS)
    given = parser.parse_args()
    outlive_nobody()
    try:
        cluster = MockCluster(ctypes.CDLL(str(bundled_library())), given.first_join_ms)
        for topic in filter(None, given.topics.split(",")):
            cluster.obey("topic", *topic.split(":"))
    except EmbeddedError as error:
        say("error", str(error))
        sys.exit(1)
    try:
        asyncio.run(_serve(cluster))
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # all is in memory: nothing to flush, and librdkafka's threads need no farewell


async def _serve(cluster: MockCluster) -> None:
    port = await Gate(cluster.port).open()
    cluster.advertise(port)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    say("ready", f"127.0.0.1:{port}")
    while line := await commands.readline():
        try:
            cluster.obey(*line.decode().split())
        except EmbeddedError as error:
            say("error", str(error))
        else:
            say("done")


if __name__ == "__main__":
    main()
