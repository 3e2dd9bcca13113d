"""What is acknowledged is not lost in a failover, to the durability that was asked for."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from model.events import Event, decode_event
from model.ids import item_hash
from serving.covisits import query_hash
from serving.profile import cut_query, unpack
from serving.round_trip import Durability, NotDurableError
from serving.store import Store, StoreError
from stream.embedded_redis import EmbeddedRedis
from tests.cluster_node import ClusterNode
from tests.learning_worker import SHARDS, LearningWorker, learning_worker
from tests.parts import NOW, FakeRecord, click, forget, records_of
from tests.redis_cluster import LoopbackCluster
from tests.shoppers import (
    ITEMS,
    QUERIES,
    CountDifference,
    by_user,
    count_differences,
    expected_counts,
    partitions_of,
    profile_bytes,
    shopping_log,
    stored_counts,
    wrong_profiles,
)

EVENTS = 2_000
USERS = 150


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    with LoopbackCluster(
        tmp_path_factory.mktemp("cluster"), appendonly=True, options={"appendfsync": "always"}
    ) as formed:
        yield formed


def events_of(records: Sequence[FakeRecord]) -> list[Event]:
    return [decode_event(record.value, NOW) for record in records]


async def lost(store: Store, records: Sequence[FakeRecord]) -> list[str]:
    """The users to whose stored profile these records, once merged, would add something again."""
    found = []
    for user_id, events in by_user(events_of(records)).items():
        stored = await store.profile(user_id)
        if stored.merge(unpack(profile_bytes(events))) != stored:
            found.append(user_id)
    return found


async def lag_and_take_over(
    cluster: LoopbackCluster, worker: LearningWorker, records: Sequence[FakeRecord]
) -> ClusterNode:
    """Learn while a replica is cut off, then have this replica take over.

    Returns once the records are learned or were refused three times; returns the old primary.
    """
    primary = next(node for node in cluster.primaries() if cluster.replicas_of(node))
    replica = cluster.replicas_of(primary)[0]
    with cluster.cut_off(replica):
        await worker.work(records, may_go_on=lambda: worker.faults["NotDurableError"] < 3)
        await asyncio.to_thread(cluster.take_over, replica)
    await asyncio.to_thread(cluster.wait_healthy)
    return primary


@pytest.mark.parametrize("durability", ["replica", "disk"])
async def test_no_acknowledged_write_is_missing_after_a_failover(
    cluster: LoopbackCluster, durability: Durability
) -> None:
    log = shopping_log(EVENTS, users=USERS, seed=5)
    (records,) = partitions_of(log, 1)
    third = len(records) // 3
    async with learning_worker(cluster.url, prefix=durability, durability=durability) as worker:
        await worker.work(records[:third])
        await lag_and_take_over(cluster, worker, records[third : 2 * third])
        assert worker.faults["NotDurableError"] >= 3
        acknowledged = len(worker.acknowledged)
        assert third <= acknowledged < 2 * third, "acknowledged although the replica lagged"
        assert await lost(worker.parts.store, worker.acknowledged) == []

        victim = next(node for node in cluster.primaries() if cluster.replicas_of(node))
        rest = asyncio.create_task(worker.work(records[acknowledged:]))
        while len(worker.acknowledged) < 2 * third:
            await asyncio.sleep(0.01)
        cluster.freeze(victim)  # at once: by the time that a thread kills it, all may be learned
        await asyncio.to_thread(cluster.kill_and_fail_over, victim)
        assert not rest.done(), "it died under no load"
        await asyncio.to_thread(cluster.restart, victim)
        await rest
        await asyncio.to_thread(cluster.wait_healthy)
        assert worker.acknowledged == records, "each record once"
        assert await wrong_profiles(worker.parts.store, log) == []
        counts = worker.parts.counts
        assert count_differences(await stored_counts(counts), expected_counts(log, counts)) == []


async def test_without_durability_the_loss_is_bounded_and_a_replay_repairs_profiles(
    cluster: LoopbackCluster,
) -> None:
    log = shopping_log(EVENTS, users=USERS, seed=6)
    (records,) = partitions_of(log, 1)
    third = len(records) // 3
    before, during, after = records[:third], records[third : 2 * third], records[2 * third :]
    async with learning_worker(cluster.url, prefix="none", durability="none") as worker:
        store, counts = worker.parts.store, worker.parts.counts
        await worker.work(before)
        await asyncio.to_thread(cluster.wait_in_step)
        failed = await lag_and_take_over(cluster, worker, during)
        assert len(worker.acknowledged) == 2 * third

        missing = await lost(store, during)
        assert missing, "the replica did not lag"
        assert await lost(store, before) == [], "older than the lag, and lost"
        heir = cluster.primary_of(store.keys(missing[0]).profile)
        on_failed = {u for u in by_user(log) if cluster.primary_of(store.keys(u).profile) is heir}
        assert set(missing) <= on_failed and failed is not heir

        await worker.work(during)  # the short replay
        await worker.work(after)
        assert await wrong_profiles(store, log) == []

        # Counts are never doubled; those whose slot was on the failed node may stay short.
        for short in count_differences(await stored_counts(counts), expected_counts(log, counts)):
            assert short.stored < short.expected
            assert cluster.primary_of(f"{{{shard_of(short)}}}") is heir


async def test_the_disk_keeps_what_was_acknowledged_when_all_servers_die(
    cluster: LoopbackCluster,
) -> None:
    log = shopping_log(500, users=50, seed=7)
    (records,) = partitions_of(log, 1)
    async with learning_worker(cluster.url, prefix="crash", durability="disk") as worker:
        await worker.work(records)
        nodes = cluster.alive()
        for node in nodes:
            cluster.kill(node)
        for node in nodes:
            await asyncio.to_thread(cluster.restart, node)
        await asyncio.to_thread(cluster.wait_healthy)
    async with learning_worker(cluster.url, prefix="crash") as worker:
        assert await wrong_profiles(worker.parts.store, log) == []
        counts = worker.parts.counts
        assert count_differences(await stored_counts(counts), expected_counts(log, counts)) == []


@pytest.mark.parametrize("what", ["profile", "counts", "forget"])
async def test_a_repeated_write_waits_for_the_replica_as_the_first_one_did(
    cluster: LoopbackCluster, what: str
) -> None:
    """The batch of a worker that died unacknowledged changes nothing the second time."""
    async with (
        learning_worker(cluster.url, prefix=f"twice-{what}", durability="replica") as dead,
        learning_worker(cluster.url, prefix=f"twice-{what}", durability="replica") as heir,
    ):
        store = dead.parts.store
        primary = next(node for node in cluster.primaries() if cluster.replicas_of(node))

        def is_here(key: str) -> bool:
            return cluster.primary_of(key) is primary

        users = [f"user-{at}" for at in range(100)]
        here = next(u for u in users if is_here(store.keys(u).profile))
        elsewhere = next(u for u in users if not is_here(store.keys(u).profile))
        item_id = next(i for i in ITEMS if is_here(f"{{{item_hash(i) % SHARDS}}}"))
        events: dict[str, Event] = {
            "profile": click(here, item_id),
            "counts": click(elsewhere, item_id),
            "forget": forget(here),
        }
        records = records_of([events[what]], first=1)
        # What the replica has confirmed of this connection so far must not pass for this write.
        await heir.work(records_of([click(here, item_id)]))
        (replica,) = cluster.replicas_of(primary)
        cluster.freeze(replica)
        try:
            for worker in (dead, heir, heir):
                with pytest.raises(NotDurableError):
                    await worker.try_batch(records)
        finally:
            cluster.thaw(replica)
        await heir.work(records)


@pytest.mark.parametrize("lack", ["file", "command"])
async def test_a_server_that_cannot_wait_for_its_disk_says_what_it_needs(
    lack: str, tmp_path: Path
) -> None:
    older = tmp_path / "older.conf"
    older.write_text('rename-command WAITAOF ""\n' if lack == "command" else "")  # as Redis 7.0
    options = {"appendonly": "no" if lack == "file" else "yes", "include": str(older)}
    with EmbeddedRedis(directory=tmp_path, options=options) as server:
        async with learning_worker(
            server.url, prefix="nc", durability="disk", replicas=0
        ) as worker:
            with pytest.raises(StoreError, match=r"Redis 7\.2 or later, with `appendonly yes`"):
                await worker.try_batch(records_of([click("u", "item-1")]))


def shard_of(difference: CountDifference) -> int:
    """The shard of counts in which it is."""
    match difference.name:
        case "popular":
            one = difference.item
        case name if name in QUERIES:
            one = query_hash(cut_query(name))
        case name:
            one = item_hash(name)
    return one % SHARDS
