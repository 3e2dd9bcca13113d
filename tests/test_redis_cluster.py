"""Profiles and counts on a real Redis Cluster, while its slots move and its primaries die."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from model.events import Event
from serving.recommendation import AsOf, Recommendation, encode_recommendation
from tests.cluster_node import ClusterNode
from tests.learning_worker import SHARDS, LearningWorker, learning_worker
from tests.parts import click, records_of
from tests.redis_cluster import LoopbackCluster
from tests.shoppers import (
    count_differences,
    expected_counts,
    partitions_of,
    shopping_log,
    stored_counts,
    wrong_profiles,
)

EVENTS = int(os.environ.get("NEXTCLICK_TEST_CLUSTER_EVENTS", "10000"))
USERS = 400
PARTITIONS = 4
MOVED_SLOTS = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    with LoopbackCluster(tmp_path_factory.mktemp("cluster")) as formed:
        yield formed


@pytest.fixture
async def workers(
    cluster: LoopbackCluster, request: pytest.FixtureRequest
) -> AsyncIterator[list[LearningWorker]]:
    async with AsyncExitStack() as stack:
        prefix = request.node.name.replace("_", "-")[:32]
        yield [
            await stack.enter_async_context(
                # What a dying primary has acknowledged and not yet sent on would be missing.
                learning_worker(cluster.url, prefix=prefix, durability="replica")
            )
            for _ in range(2)
        ]


async def learn_while(
    workers: Sequence[LearningWorker], log: Sequence[Event], disturb: Callable[[], None]
) -> int:
    """Learn the log, each worker its own partitions, and disturb the cluster meanwhile.

    Returns:
        How many records were still to be learned when the disturbance was over.
    """
    partitions = partitions_of(log, PARTITIONS)
    work = [
        asyncio.create_task(workers[at % len(workers)].work(records))
        for at, records in enumerate(partitions)
    ]
    try:
        while done(workers) < len(log) // 10:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(disturb)
        left = len(log) - done(workers)
        await asyncio.gather(*work)
    finally:
        for task in work:
            task.cancel()
    assert done(workers) == len(log)
    return left


def done(workers: Sequence[LearningWorker]) -> int:
    """Records that were acknowledged."""
    return sum(len(worker.acknowledged) for worker in workers)


async def assert_exact(worker: LearningWorker, log: Sequence[Event]) -> None:
    """Profiles are the oracle's byte for byte, counts up to rounding."""
    assert await wrong_profiles(worker.parts.store, log) == []
    counts = worker.parts.counts
    assert count_differences(await stored_counts(counts), expected_counts(log, counts)) == []


def redirections(nodes: Sequence[ClusterNode]) -> dict[str, int]:
    """How often the nodes have sent clients elsewhere, by kind."""
    found = {"MOVED": 0, "ASK": 0, "TRYAGAIN": 0}
    for node in nodes:
        for name, value in node.client.info("errorstats").items():
            kind = name.removeprefix("errorstat_")
            if kind in found:
                found[kind] += int(value["count"])
    return found


async def test_primaries_die_freeze_and_come_back_during_writes(
    cluster: LoopbackCluster, workers: list[LearningWorker]
) -> None:
    log = shopping_log(EVENTS, users=USERS, seed=2)
    first, second, _ = cluster.primaries()
    left: list[int] = []

    def disturb() -> None:
        cluster.kill_and_fail_over(first)
        left.append(len(log) - done(workers))
        cluster.restart(first)
        cluster.wait_healthy()
        cluster.hand_over(first)
        cluster.freeze_and_fail_over(second)
        left.append(len(log) - done(workers))
        cluster.thaw(second)
        cluster.wait_healthy()

    await learn_while(workers, log, disturb)
    assert min(left) > 0, "they failed under no load"
    assert sum((worker.faults for worker in workers), Counter()).total() > 0
    assert first.is_primary and not second.is_primary
    await assert_exact(workers[0], log)


async def test_slots_move_to_a_new_node_during_writes(
    cluster: LoopbackCluster, workers: list[LearningWorker]
) -> None:
    log = shopping_log(EVENTS, users=USERS, seed=1)
    store = workers[0].parts.store
    of_users = sorted({key_slot(store.keys(event.user_id).profile.encode()) for event in log})
    of_counts = [key_slot(f"{{{shard}}}".encode()) for shard in range(SHARDS // 4)]
    slots = of_counts + random.Random(1).sample(of_users, MOVED_SLOTS)
    joined = await asyncio.to_thread(cluster.add_primary)
    before = redirections(cluster.nodes)

    def move_slots() -> None:
        for slot in slots:
            if done(workers) > len(log) * 0.8:
                break
            # Key by key and with time in between, so that writes meet a slot that is half moved.
            moved.append(
                cluster.migrate_slot(
                    slot, joined, keys_per_step=1, after_step=lambda: time.sleep(0.005)
                )
            )

    moved: list[int] = []
    assert await learn_while(workers, log, move_slots) > 0, "the slots moved under no load"
    seen = redirections(cluster.nodes)
    assert all(seen[kind] > before[kind] for kind in seen), seen
    assert sum(moved) >= len(moved) > 4
    library = workers[0].parts.store.functions.name
    assert joined.client.function_list(library=library), "it joined without functions"
    await assert_exact(workers[0], log)


async def test_a_cluster_out_of_reach_is_a_fault_that_passes(
    cluster: LoopbackCluster, workers: list[LearningWorker]
) -> None:
    nodes = cluster.alive()
    records = records_of([click("somebody", "item-1")])
    for node in nodes:
        cluster.kill(node)
    for _ in range(2):  # the first one finds its connections broken, the next one no node at all
        with pytest.raises((RedisError, OSError)):
            await workers[0].try_batch(records)
    for node in nodes:
        await asyncio.to_thread(cluster.restart, node)
    await asyncio.to_thread(cluster.wait_healthy)
    await workers[0].work(records)
    assert workers[0].acknowledged == records


async def test_last_lists_of_several_slots_are_looked_up_in_one_call(
    workers: list[LearningWorker],
) -> None:
    store = workers[0].parts.store
    lists = [
        Recommendation(
            rec_id=f"r{at}", user_id=f"u{at}", event_id="e", ts=1, as_of=AsOf("events", 0, at),
            bundle="b", items=(), step_ms={},
        )
        for at in range(20)
    ]  # fmt: skip
    assert len({key_slot(store.keys(each.user_id).last_list.encode()) for each in lists}) > 3
    await store.keep(lists)
    users = [each.user_id for each in lists]
    found = await store.last_lists_json([*users, "nobody"])
    assert found == [*map(encode_recommendation, lists), None]
