"""What a consumer tells of its lag, its commits and what came twice, on a real broker."""

import asyncio
from typing import cast

import pytest
from faust.types import TP

from stream.batch_consumer import BatchConsumer
from stream.batches import ack, nack
from tests.backends import Broker
from tests.kafka_log import write
from tests.stage import gauge
from tests.test_batches import Events, until, working


@pytest.fixture
def topic(broker: Broker) -> str:
    """One with one partition; its group has the same name."""
    broker.create_topics({"measured": 1})
    return "measured"


async def test_lag_commits_and_redelivered_records_are_told(broker: Broker, topic: str) -> None:
    await write(broker.bootstrap, topic, {0: [b"%d" % at for at in range(20)]})
    given_back, may_end = asyncio.Event(), asyncio.Event()
    before = gauge("redelivered_records_total") or 0, gauge("commits_total", outcome="done") or 0

    async def handle(events: Events) -> None:
        if not given_back.is_set():
            for event in events:
                nack(event)
            return given_back.set()
        await may_end.wait()
        for event in events:
            ack(event)

    def lag() -> float | None:
        return gauge("lag_records", topic=topic, partition="0")

    async with working(broker, topic, handle) as app:
        await given_back.wait()
        await until(lambda: lag() == 20)
        may_end.set()
        await until(lambda: lag() == 0)
        await until(lambda: (gauge("commits_total", outcome="done") or 0) > before[1])
        cast(BatchConsumer, app.consumer)._drop([TP(topic, 0)])  # as on a rebalance
        assert lag() is None, "whoever has the partition next tells"
    assert (gauge("redelivered_records_total") or 0) - before[0] >= 10, "a batch at least"
