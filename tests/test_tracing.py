"""One trace from whoever sends an event to whoever reads the list."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from model.events import Click, encode_event
from stream.api.event_writer import EventWriter, KeyedEvent
from stream.settings import Settings
from stream.tracing import open_tracing
from tests.crowd import fleet
from tests.kafka_log import read
from tests.otlp_collector import OtlpCollector
from tests.printed_figures import figures_of
from tests.shop import wait_until

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


def a_click(user: str, number: int) -> KeyedEvent:
    now = time.time_ns() // 1_000_000
    event = Click(event_id=f"{user}-{number}", user_id=user, ts=now, item_id="tea-1")
    return KeyedEvent(user.encode(), encode_event(event))


async def told(
    settings: Settings, writer: EventWriter, requests: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Send a click of each user, by a request with these headers; the headers of each's list."""
    found: dict[str, dict[str, str]] = {}
    try:
        for number, (user, request) in enumerate(requests.items()):
            await writer.write([a_click(user, number)], request)
        async with asyncio.timeout(60):
            while not requests.keys() <= found.keys():
                lists = await read(settings.brokers, settings.recommendations_topic)
                for each in [record for part in lists.values() for record in part]:
                    headers = {name: value.decode() for name, value in each.headers}
                    found.setdefault(each.key.decode(), headers)
    finally:
        await writer.stop()
    return found


@pytest.mark.either_backend
def test_a_trace_goes_from_a_request_through_the_worker_to_the_list(
    stream_settings: Settings, tmp_path: Path
) -> None:
    requests: dict[str, dict[str, str]] = {
        "ann": {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"},
        "bob": {"traceparent": f"00-{CALLER[::-1]}-00f067aa0ba902b7-00"},
        "eve": {},
    }
    with OtlpCollector() as collector:
        on = {"traces": "otlp", "traces_url": collector.url}
        settings = stream_settings.model_copy(update=on)
        tracing = open_tracing(settings, "test-api")
        assert tracing is not None
        with fleet(settings, tmp_path, 1):
            lists = asyncio.run(told(settings, EventWriter(settings, tracing), requests))
        tracing.close()  # and the worker has stopped, so all is there
        ann, bob, eve = [lists[user]["traceparent"].split("-") for user in requests]

        (sent,) = [each for each in collector.named("send events") if each.trace == CALLER]
        (processed,) = [each for each in collector.named("process events") if each.trace == CALLER]
        assert (sent.service, processed.service) == ("test-api", "nextclick-worker")
        assert sent.span.parent_span_id.hex() == "00f067aa0ba902b7"
        assert processed.span.parent_span_id == sent.span.span_id
        assert ann == ["00", CALLER, processed.span.span_id.hex(), "01"], "the list goes on with it"

        assert (bob[1], bob[3]) == (CALLER[::-1], "00"), "its caller does not want it recorded"
        assert not [each for each in collector.spans if each.trace == CALLER[::-1]]

        assert int(eve[3], 16) & 1, "where nothing came a trace begins, and is recorded"
        assert {each.span.name for each in collector.spans if each.trace == eve[1]} >= {
            "send events",
            "process events",
        }
        batches = {each.span.span_id: each for each in collector.named("micro-batch")}
        steps = [each for each in collector.spans if each.span.parent_span_id in batches]
        names = {each.span.name for each in steps}
        assert names >= {"decode", "profiles", "candidates", "rank", "rerank", "keep", "publish"}
        assert all(each.span.end_time_unix_nano >= each.span.start_time_unix_nano for each in steps)
        spoken = " ".join(str(each.span) for each in collector.spans)
        assert "ann" not in spoken, "no user id"


def test_records_say_nothing_where_traces_are_off(
    stream_settings: Settings, tmp_path: Path
) -> None:
    request = {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"}
    with fleet(stream_settings, tmp_path, 1):
        lists = asyncio.run(told(stream_settings, EventWriter(stream_settings), {"zoe": request}))
    assert lists["zoe"] == {}


def test_nothing_of_it_is_loaded_where_traces_are_off() -> None:
    code = (
        "import sys, stream.app, stream.api.app, stream.replay.run\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'stream.batch_trace')\n"
        "assert not [name for name in sys.modules if name.startswith(ours)]"  # redis loads more
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_collector_that_is_away_holds_nobody_up(free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/v1/traces"
    tracing = open_tracing(Settings(traces="otlp", traces_url=url), "test")
    assert tracing is not None
    assert tracing.created("events", [("other", b"1")])[0] == ("other", b"1")
    tracing.close()


def test_without_the_extra_the_start_says_what_to_install() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.sdk.trace'] = None\n"
        "from stream.settings import Settings\n"
        "from stream.tracing import open_tracing\n"
        "open_tracing(Settings(traces='otlp'), 'test')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'nextclick[otel]'" in done.stderr


def test_the_past_that_is_sent_again_goes_on_with_its_trace() -> None:
    with OtlpCollector() as collector:
        settings = Settings(traces="otlp", traces_url=collector.url)
        tracing = open_tracing(settings, "test")
        assert tracing is not None
        old = [("nextclick-replay", b"1"), ("traceparent", f"00-{CALLER}-{'1' * 16}-01".encode())]
        headers = tracing.created("events", old)
        broken = tracing.created("events", [("traceparent", b"\xff")])
        tracing.close()
        wait_until(lambda: len(collector.spans) == 2, "both spans are there")
        one, other = collector.spans
    assert one.trace == CALLER
    told = f"00-{CALLER}-{one.span.span_id.hex()}-01".encode()
    assert headers == [("nextclick-replay", b"1"), ("traceparent", told)]
    assert broken[0][1].split(b"-")[1].decode() == other.trace, "what makes no sense begins anew"


def test_the_benchmark_of_traces_prints_what_each_costs() -> None:
    figures = figures_of("tracing", "--records=16", "--rounds=3")
    assert 0 < figures["off_us"] < figures["not_recorded_us"], "off does nothing for each record"
    assert figures["recorded_us"] > 0
