"""An API on real servers, called over its ASGI app: what its tests share."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stream.api.app import build_api
from stream.api.keys import new_key
from stream.api.service import Service
from stream.ingest import ingest
from stream.settings import Settings, child_environment
from tests.shop import ITEMS, PATIENCE_S, wait_until
from tests.tiny import tiny_bundle

LOCAL = ("127.0.0.1", 1234)


@dataclass
class Api:
    """An API and one that calls it."""

    service: Service
    client: httpx.AsyncClient

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """The answer to a GET."""
        return await self.client.get(path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """The answer to a POST of JSON."""
        return await self.client.post(path, json=body, **more)


async def prepare(settings: Settings) -> None:
    """A tiny bundle and a catalogue, where there is no bundle yet."""
    if not settings.bundle.exists():
        tiny_bundle(settings.bundle, [item.item_id for item in ITEMS[:-2]])
        await ingest(settings, iter(ITEMS))


@asynccontextmanager
async def open_api(
    settings: Settings,
    *,
    client: tuple[str, int] = LOCAL,
    headers: Mapping[str, str] | None = None,
    wait: bool = True,
) -> AsyncIterator[Api]:
    """An API that has opened all of its parts, unless it is not to be waited for."""
    service = Service(settings)
    service.load()
    app = build_api(service)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=client)
    await service.start()
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=dict(headers or {})
        ) as caller:
            api = Api(service, caller)
            if wait:
                async with asyncio.timeout(PATIENCE_S):
                    while (await api.get("/health/ready")).status_code != 200:
                        await asyncio.sleep(0.02)
            yield api
    finally:
        await service.stop()


def write_keys(path: Path, **scopes: str) -> dict[str, dict[str, str]]:
    """A file of keys, and by name the header that each is sent in."""
    headers: dict[str, dict[str, str]] = {}
    lines = []
    for name, of_key in scopes.items():
        words = of_key.split()
        key, line = new_key(name, words[0].split(","), float(words[1]) if words[1:] else None)
        lines.append(line)
        headers[name] = {"Authorization": f"Bearer {key}"}
    path.write_text("# keys\n\n" + "\n".join(lines) + "\n")
    return headers


@contextmanager
def running(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``nextclick api`` as a process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "api"],
            env=os.environ | child_environment(settings),
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


@contextmanager
def serving(settings: Settings, log: Path) -> Iterator[str]:
    """The address of such a process once it serves."""
    url = f"http://127.0.0.1:{settings.api_port}"
    with running(settings, log) as process:
        wait_until(lambda: is_ready(url) or process.poll() is not None, "the API is ready")
        assert process.poll() is None, log.read_text()
        yield url


def is_ready(url: str) -> bool:
    """Whether an API serves there."""
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
