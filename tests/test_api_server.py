"""The API in a process of its own, by uvicorn; and what it says while parts are away."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from stream.api.batcher import Batcher
from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings
from tests.api_client import is_ready, open_api, prepare, running
from tests.shop import PATIENCE_S, wait_until
from tests.tcp_proxy import TcpProxy


async def test_a_process_serves_and_ends_requests_in_work(
    stream_settings: Settings, tmp_path: Path, free_port: int
) -> None:
    await prepare(stream_settings)
    settings = stream_settings.model_copy(update={"api_port": free_port})
    url, log = f"http://127.0.0.1:{free_port}", tmp_path / "api.log"
    with running(settings, log) as process:
        wait_until(lambda: is_ready(url) or process.poll() is not None, "the API is ready")
        assert process.poll() is None, log.read_text()
        answer = httpx.get(f"{url}/v1/users/private%2Fperson/recommendations", timeout=PATIENCE_S)
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("not-found")
        assert "server" not in answer.headers
        person = {"user_id": "private-person"}
        made = httpx.post(f"{url}/v1/recommendations", json=person, timeout=PATIENCE_S)
        assert len(made.json()["items"]) == settings.list_length
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            asked = [
                asyncio.create_task(client.post("/v1/recommendations", json={"user_id": f"u{at}"}))
                for at in range(40)
            ]
            # Some are answered, so all were sent: the others are in work when the signal comes.
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*asked, return_exceptions=True)
        answered = [each for each in answers if isinstance(each, httpx.Response)]
        assert answered
        assert {each.status_code for each in answered} == {200}
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    text = log.read_text()
    assert "private" not in text
    assert "Traceback" not in text


async def test_while_redis_is_away_health_says_so_and_lists_are_unavailable(
    stream_settings: Settings, redis_server: EmbeddedRedis
) -> None:
    await prepare(stream_settings)
    with TcpProxy(int(redis_server.address.rpartition(":")[2])) as proxy:
        settings = stream_settings.model_copy(
            update={"redis_url": f"redis://{proxy.address}/0", "redis_timeout_s": 0.5}
        )
        proxy.refuse()
        async with open_api(settings, wait=False) as api:
            async with asyncio.timeout(PATIENCE_S):
                while "redis is away" not in (await api.get("/health/ready")).json()["causes"]:
                    await asyncio.sleep(0.02)
            assert (await api.get("/health/ready")).status_code == 503
            assert (await api.get("/health/live")).status_code == 200
            answer = await api.get("/v1/users/u/recommendations")
            assert answer.status_code == 503
            assert answer.json()["type"].endswith("unavailable")
            assert "redis is away" in answer.json()["detail"]
            assert answer.headers["retry-after"] == "1"


async def test_a_redis_that_goes_away_later_is_unavailable_and_no_fault(
    stream_settings: Settings, redis_server: EmbeddedRedis
) -> None:
    await prepare(stream_settings)
    with TcpProxy(int(redis_server.address.rpartition(":")[2])) as proxy:
        settings = stream_settings.model_copy(
            update={"redis_url": f"redis://{proxy.address}/0", "redis_timeout_s": 0.5}
        )
        async with open_api(settings) as api:
            proxy.refuse()
            for answer in (
                await api.get("/v1/users/u/recommendations"),
                await api.post("/v1/recommendations", {"user_id": "u"}),
                await api.get("/v1/items/tea-1/similar"),
            ):
                assert answer.status_code == 503, answer.text
                assert answer.json()["type"].endswith("unavailable")


async def test_events_that_kafka_does_not_acknowledge_are_told_so(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(stream_settings)
    async with open_api(stream_settings) as api:
        # A broker that nobody reaches: what the producer would learn by itself in minutes.
        await api.service.writer.stop()
        unreachable = stream_settings.model_copy(
            update={"brokers": "127.0.0.1:1", "kafka_timeout_s": 0.2}
        )
        monkeypatch.setattr(api.service.writer, "_settings", unreachable)
        now = time.time_ns() // 1_000_000
        event = {"type": "click", "event_id": "e", "user_id": "u", "ts": now, "item_id": "tea-1"}
        answer = await api.post("/v1/events", [event, {}])
        assert answer.status_code == 503
        assert [each["status"] for each in answer.json()["results"]] == ["not_stored", "refused"]
        assert "send it again" in answer.json()["detail"]
        assert (await api.client.delete("/v1/users/u")).status_code == 503


async def test_too_many_requests_at_once_are_turned_away_and_probes_are_not(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(stream_settings)
    settings = stream_settings.model_copy(update={"api_max_requests": 2})
    async with open_api(settings) as api:
        held = asyncio.Event()

        async def waits(users: list[str]) -> list[bytes]:
            await held.wait()
            return [b"{}"] * len(users)

        monkeypatch.setattr(api.service.parts.store, "last_lists_json", waits)
        waiting = [asyncio.create_task(api.get("/v1/users/u/recommendations")) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await api.get("/v1/users/u/recommendations")
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("overloaded")
        assert (await api.get("/health/live")).status_code == 200
        held.set()
        assert [each.status_code for each in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_process_that_cannot_go_on_says_so(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await prepare(stream_settings)
    async with open_api(stream_settings) as api:
        assert (await api.get("/health/live")).json() == {"status": "alive"}

        def breaks(batcher: Batcher) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Batcher, "_take", breaks)
        asked = asyncio.create_task(api.post("/v1/recommendations", {"user_id": "u"}))
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await api.get("/health/live")).status_code != 503:
                await asyncio.sleep(0.01)
        told = {"status": "broken", "causes": ["a part of this process has ended"]}
        assert answer.json() == told
        assert "the API has to be started again" in caplog.text
        asked.cancel()


async def test_a_body_that_does_not_come_and_a_part_that_does_not_answer_are_not_waited_for(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(stream_settings)
    settings = stream_settings.model_copy(update={"api_timeout_s": 0.2})

    async def never_ends() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.Event().wait()

    async def hangs(users: list[str]) -> list[bytes]:
        await asyncio.Event().wait()
        return []

    async with open_api(settings) as api:
        headers = {"Content-Type": "application/json"}
        slow = await api.client.post("/v1/events", content=never_ends(), headers=headers)
        assert slow.status_code == 408
        assert slow.json()["type"].endswith("too-slow")
        monkeypatch.setattr(api.service.parts.store, "last_lists_json", hangs)
        answer = await api.get("/v1/users/u/recommendations")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("unavailable")
