"""On a cluster the user of `nextclick acl` may do what its clients do there, and no more."""

from pathlib import Path

import pytest
from redis.crc import key_slot
from redis.exceptions import TryAgainError

from stream.acl import CLUSTER
from stream.check import check
from stream.settings import Settings
from tests.acl_user import PASSWORD, USER, done, make_users, refused, watch
from tests.learning_worker import learning_worker
from tests.parts import click, records_of
from tests.redis_cluster import LoopbackCluster


async def test_a_worker_follows_a_slot_that_is_half_moved(tmp_path: Path) -> None:
    with LoopbackCluster(tmp_path, replicas_each=0) as cluster:
        url = cluster.url.replace("://", f"://{USER}:{PASSWORD}@")
        for node in cluster.nodes:
            make_users(node.client, Settings(redis_url=url))
            watch(node.client)
        async with learning_worker(url, prefix="nc") as worker:
            await worker.try_batch(records_of([click("ann", "tea-1")]))
            slot = key_slot(worker.parts.store.keys("bob").profile.encode())
            source = cluster.owner(slot)
            target = next(each for each in cluster.primaries() if each is not source)
            target.client.cluster("SETSLOT", slot, "IMPORTING", source.node_id)
            source.client.cluster("SETSLOT", slot, "MIGRATING", target.node_id)
            # The new owner is asked, and has to have both keys before it answers.
            with pytest.raises(TryAgainError):
                await worker.try_batch(records_of([click("bob", "tea-2")], first=1))
            cluster.migrate_slot(slot, target)
            await worker.try_batch(records_of([click("bob", "tea-2")], first=1))
        findings = await check(Settings(redis_url=url, provider="cpu"))
        assert [each.text for each in findings if each.name == "redis functions"] == [
            "can be called"
        ]
        assert [refused(node.client) for node in cluster.nodes] == [[]] * len(cluster.nodes)
        seen = set().union(*(done(node.client) for node in cluster.nodes))
        assert seen >= set(CLUSTER)
