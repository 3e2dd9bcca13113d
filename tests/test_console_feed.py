"""What the console follows and measures, and how its process ends."""

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from model.features import Vocabulary
from serving.catalog import Catalog
from serving.recommendation import Recommendation, encode_recommendation
from stream.console import feed as feed_module
from stream.console.audience import Audience, Viewer
from stream.console.feed import Feed
from stream.console.pulse import Pulse
from stream.console.worker_metrics import WorkerMetrics, reading_of
from stream.kafka import producer_arguments
from stream.offsets import OffsetReader
from stream.settings import Settings
from tests.api_client import is_ready, prepare, running
from tests.console_lists import made_list
from tests.faulty_broker import FaultyBroker
from tests.shop import PATIENCE_S, wait_until
from tests.stage import until

TOPICS = {"events": 2, "events.dlq": 1, "recommendations": 2, "catalog": 1}
FIRST = """
nextclick_ready 1.0
nextclick_provider{provider="CUDAExecutionProvider"} 1.0
nextclick_waiting{part="redis"} 0.0
nextclick_events_total{kind="click"} 10.0
nextclick_events_total{kind="search"} 5.0
nextclick_lists_total{cause="search"} 5.0
nextclick_latency_seconds_bucket{le="0.01"} 4.0
nextclick_latency_seconds_bucket{le="0.02"} 4.0
nextclick_latency_seconds_bucket{le="+Inf"} 4.0
process_resident_memory_bytes 1.048576e+08
"""
SECOND = (
    FIRST.replace("} 10.0", "} 30.0")
    .replace('"0.01"} 4', '"0.01"} 8')
    .replace('"0.02"} 4', '"0.02"} 12')
    .replace('Inf"} 4', 'Inf"} 12')
    .replace('"redis"} 0', '"redis"} 1')
    .replace("ready 1", "ready 0")
)


async def test_a_viewer_is_told_of_his_lists_though_kafka_goes_away_meanwhile() -> None:
    catalog, audience, viewer = Catalog(Vocabulary([])), Audience(), Viewer("ann")
    with FaultyBroker(TOPICS) as broker:
        settings = Settings(
            brokers=broker.bootstrap, embedded=True, provider="cpu", kafka_timeout_s=1
        )
        feed = Feed(settings, audience, lambda: catalog)
        following = asyncio.create_task(feed.run())
        await feed.settled.wait()
        audience.enter(viewer)
        try:
            await write(settings, made_list("ann", 1), made_list("bob", 2))
            await until(lambda: feed.lists == 2)
            broker.down()
            broker.up()
            junk = b"junk", b'{"ts": 1, "bundle": "\xff"}', b"[" * 100_000
            await write(settings, made_list("ann", 3), *junk, made_list("bob", 4))
            await until(lambda: feed.lists == 7)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    audience.dismiss()
    told = [json.loads(each.split(b"data: ")[1]) async for each in viewer.messages()]
    assert [each["rec_id"] for each in told] == [made_list("ann", each).rec_id for each in (1, 3)]
    samples = feed.samples()
    assert {each.bundle for each in samples} == {f"bundle-{each}" for each in (1, 2, 3, 4)}
    assert min(each.latency_ms for each in samples) >= 40


class EarlyEnds(OffsetReader):
    """Another two records have come when the ends are known."""

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        found = await super().ends(partitions)
        return {place: max(end - 2, 0) for place, end in found.items()}


@pytest.mark.either_backend
async def test_lists_of_before_the_start_are_held_and_nobody_is_told_of_them(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "OffsetReader", EarlyEnds)
    monkeypatch.setattr(feed_module, "EARLIER_LISTS", 4 * stream_settings.partitions)
    audience, viewer = Audience(), Viewer("ann")
    audience.enter(viewer)
    lists = [made_list("ann", each) for each in range(9)]
    await write(stream_settings, *lists[:6], b"junk", *lists[6:8])
    feed = Feed(stream_settings, audience, lambda: Catalog(Vocabulary([])))

    def held() -> list[str]:
        return [each.rec_id for each in feed.recent.of("ann", None, -1)]

    following = asyncio.create_task(feed.run())
    try:
        await until(lambda: held()[:1] == [lists[7].rec_id])
        assert feed.lists == 2
        await write(stream_settings, lists[8])
        await until(lambda: feed.lists == 3)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    # Four records from before the start, of which one is no list.
    assert held() == [each.rec_id for each in reversed(lists[3:])]
    audience.dismiss()
    told = [json.loads(each.split(b"data: ")[1]) async for each in viewer.messages()]
    assert [each["rec_id"] for each in told] == [each.rec_id for each in lists[6:]]
    assert [each.bundle for each in feed.samples()] == ["bundle-6", "bundle-7", "bundle-8"]


def patient_producer(settings: Settings) -> AIOKafkaProducer:
    """The test's own: what is under test may be in a hurry."""
    patient = settings.model_copy(update={"kafka_timeout_s": PATIENCE_S})
    return AIOKafkaProducer(**producer_arguments(patient))


async def write(settings: Settings, *lists: Recommendation | bytes) -> None:
    async with patient_producer(settings) as producer:
        for each in lists:
            value = each if isinstance(each, bytes) else encode_recommendation(each)
            key = b"ann" if isinstance(each, bytes) else each.user_id.encode()
            await producer.send_and_wait(settings.recommendations_topic, value, key=key)


async def test_figures_tell_of_rates_and_lag() -> None:
    audience, viewer = Audience(), Viewer("ann")
    with FaultyBroker(TOPICS) as broker:
        settings = Settings(
            brokers=broker.bootstrap, embedded=True, provider="cpu", kafka_timeout_s=1
        )
        pulse = Pulse(settings, audience, Feed(settings, audience, lambda: None))
        measuring = asyncio.create_task(pulse.run())
        try:
            audience.enter(viewer)
            await until(lambda: pulse.history)
            async with patient_producer(settings) as producer:
                for partition in (0, 1, 1):
                    await producer.send_and_wait("events", b"{}", partition=partition)
            await until(lambda: pulse.history[-1].lag == 3)
            broker.down()
            seen = len(pulse.history)
            await until(lambda: len(pulse.history) > seen)
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
    audience.dismiss()
    told = [
        json.loads(each.split(b"data: ")[1]) async for each in viewer.messages() if b"data" in each
    ]
    assert max(each["beat"]["events_per_s"] for each in told) > 0
    full = next(each for each in told if each["beat"]["lag"] == 3)
    assert [each["lag"] for each in full["partitions"]] == [1, 2]
    assert told[-1]["is_away"]
    assert not full["is_away"]


def test_a_workers_metrics_are_read() -> None:
    workers = WorkerMetrics(["a:1"])
    first = workers._state("a:1", reading_of(FIRST, 10.0))
    assert (first.state, first.provider, first.memory_mb) == ("ready", "CUDAExecutionProvider", 100)
    assert (first.events_per_s, first.p50_ms) == (None, None)
    second = workers._state("a:1", reading_of(SECOND, 12.0))
    assert (second.state, second.waiting_for) == ("waiting", ("redis",))
    assert (second.events_per_s, second.lists_per_s) == (10, 0)
    # Four lists took up to 10 ms, four from there to 20.
    assert second.p50_ms == pytest.approx(10)
    assert second.p99_ms == pytest.approx(19.8)
    assert workers._state("a:1", None).state == "away"
    again = workers._state("a:1", reading_of(FIRST, 20.0))
    assert again.p99_ms == second.p99_ms, "that of the last lists there were"


async def test_workers_that_do_not_answer_are_away(free_port: int) -> None:
    (found,) = await WorkerMetrics([f"127.0.0.1:{free_port}"]).look()
    assert found.state == "away"


async def test_open_pages_do_not_keep_the_process_from_ending(
    stream_settings: Settings, tmp_path: Path, free_port: int
) -> None:
    await prepare(stream_settings)
    settings = stream_settings.model_copy(update={"api_port": free_port, "console": True})
    url, log = f"http://127.0.0.1:{free_port}", tmp_path / "api.log"
    with running(settings, log) as process:
        wait_until(lambda: is_ready(url) or process.poll() is not None, "the API is ready")
        async with (
            httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client,
            client.stream("GET", "/console/stream?user=private") as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: greeting"
            process.send_signal(signal.SIGTERM)
            # The answer comes to its proper end, which httpx would complain of otherwise.
            assert [each async for each in lines if each.startswith("event: greeting")] == []
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
        refused = "Traceback" in log.read_text() or "private" in log.read_text()
        assert not refused, log.read_text()
