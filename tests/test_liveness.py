"""A worker a part of which hangs fails its probe, ends, is started again, and nothing is lost."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from stream.settings import Settings
from stream.worker_process import STALLED
from tests.crowd import Crowd, fleet
from tests.freezing_worker import FreezingWorker
from tests.shop import PATIENCE_S, wait_until

pytestmark = pytest.mark.either_backend
CAUSES = {
    "loop": "the event loop has not run",
    "thread": "the consumer's thread has not answered",  # nor does it commit, or fetch
    "fetch": "records wait from offset",
    "agent": "have been in work",
}


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body; (0, {}) where nobody answers."""
    url = f"http://127.0.0.1:{port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with contextlib.closing(error):
            return error.code, json.load(error)
    except OSError:
        return 0, {}


@pytest.fixture(params=CAUSES)
def worker(
    request: pytest.FixtureRequest, stream_settings: Settings, tmp_path: Path, free_port: int
) -> Iterator[FreezingWorker]:
    """One that has its partitions; the parameter is the part of it that can freeze."""
    settings = stream_settings.model_copy(update={"metrics_port": free_port, "stall_s": 6.0})
    with fleet(stream_settings, tmp_path, 0) as workers:
        settings = settings.model_copy(update={"exit_when_stalled": True})
        freezing = FreezingWorker(settings, "freezing", tmp_path / "freezing.log", request.param)
        freezing.start()
        workers.append(freezing)
        freezing.wait_ready()
        yield freezing


async def test_a_worker_that_hangs_fails_its_probe_and_is_started_again(
    worker: FreezingWorker, stream_settings: Settings, free_port: int, request: Any
) -> None:
    part = request.node.callspec.params["worker"]
    assert probe(free_port, "/live") == (200, {"status": "alive"})
    assert probe(free_port, "/ready") == (200, {"status": "ready"})
    async with Crowd(stream_settings) as crowd:
        crowd.users = [f"{part}-{number}" for number in range(24)]  # not those of another part
        await crowd.click()
        await crowd.served()
        worker.freeze()
        # Again and again: a fetch under way may still bring the first ones.
        stop = asyncio.Event()
        clicking = asyncio.create_task(crowd.click_on(stop, pause_s=0.5))
        told: list[str] = []

        def is_broken() -> bool:
            status, body = probe(free_port, "/live")
            assert (status == 503) == (body.get("status") == "broken")
            told.extend(body.get("causes", ()))
            return bool(told)

        await asyncio.to_thread(wait_until, is_broken, f"the probe fails because of the {part}")
        while worker.exit_status is None:
            told += probe(free_port, "/live")[1].get("causes", ())
            await asyncio.sleep(0.05)
        assert worker.exit_status == STALLED
        said = worker.log.read_text()
        assert any(CAUSES[part] in cause for cause in [*told, said]), told
        assert "has stalled and ends" in said
        assert "most recent call first" in said, "it tells where each thread stands"

        worker.be_patient()
        assert worker.start_again_if_stalled()
        await asyncio.to_thread(worker.wait_ready)
        stop.set()
        await clicking
        await crowd.served()
        await crowd.assert_right()
    assert probe(free_port, "/live")[0] == 200
