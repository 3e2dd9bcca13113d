"""One server of a Redis Cluster, seen by a test."""

from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from stream.embedded_redis import EmbeddedRedis


@dataclass(eq=False)
class ClusterNode:
    """One server of the cluster."""

    server: EmbeddedRedis
    port: int
    node_id: str
    client: Redis
    """For the test's own commands; it follows no redirection."""

    @property
    def is_primary(self) -> bool:
        """Whether the server itself says so."""
        return bool(self.client.info("replication")["role"] == "master")

    @property
    def slots(self) -> list[tuple[int, int]]:
        """First and last slot of each range that it says it serves."""
        return [(int(slots[0]), int(slots[-1])) for slots in self.own_line["slots"]]

    @property
    def own_line(self) -> dict[str, Any]:
        """What it says about itself in CLUSTER NODES."""
        return next(line for line in self.known_nodes if line["node_id"] == self.node_id)

    @property
    def known_nodes(self) -> list[dict[str, Any]]:
        """Its view of the cluster: the lines of CLUSTER NODES."""
        return list(self.client.cluster("NODES").values())

    def answers(self) -> bool:
        """Whether the server is there."""
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False

    def knows(self, node_ids: set[str]) -> bool:
        """Whether it has shaken hands with all of these."""
        lines = self.known_nodes
        return node_ids <= {line["node_id"] for line in lines if "handshake" not in line["flags"]}

    def has_received(self, offset: int) -> bool:
        """Whether this replica has its primary's writes up to an offset of replication."""
        return bool(self.client.info("replication")["slave_repl_offset"] >= offset)
