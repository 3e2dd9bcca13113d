"""Generations on a Redis Cluster, where a user's keys and the pointer lie on different nodes."""

from collections.abc import AsyncIterator, Iterator

import pytest

from serving.generations import Generations, Pointer
from stream.replay.compare import Comparing
from stream.replay.generations import delete
from stream.replay.markers import forget_again
from stream.replay.status import states_of
from tests.learning_worker import LearningWorker, learning_worker
from tests.parts import click, forget, records_of, take
from tests.redis_cluster import LoopbackCluster

USERS = [f"user-{number}" for number in range(60)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    with LoopbackCluster(tmp_path_factory.mktemp("cluster")) as formed:
        yield formed


@pytest.fixture
async def worker(
    cluster: LoopbackCluster, request: pytest.FixtureRequest
) -> AsyncIterator[LearningWorker]:
    prefix = request.node.name.replace("_", "-")[:32]
    async with learning_worker(cluster.url, prefix=prefix) as opened:
        yield opened


async def test_there_and_back_on_a_cluster(worker: LearningWorker) -> None:
    live, generations = worker.parts, Generations(worker.parts.store)
    shadow = live.for_past(await generations.begin())
    log = records_of([click(user, "a") for user in USERS])
    await take(live, log)
    await take(shadow, log[1:])
    pairs = [(each.store, each.counts) for each in (live, shadow)]
    found = await Comparing(*pairs).all()
    assert (found.profiles_equal, found.profiles_only_first) == (len(USERS) - 1, 1)
    await take(live, records_of([forget(USERS[3])], first=99))
    assert await forget_again(shadow.store) == 1
    assert await generations.flip(await generations.read(), 1, {"t:0": 5})
    _, states = await states_of(live.store, generations)
    assert [(each.number, each.role, each.users) for each in states] == [
        (1, "live", len(USERS) - 2), (0, "previous", len(USERS) - 1)
    ]  # fmt: skip
    await generations.remove(0)
    assert (await delete(live.store, 0)).profiles == len(USERS) - 1
    assert await generations.read() == Pointer(1, 1, None, None, frozenset({1}))
