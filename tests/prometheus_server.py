"""A real Prometheus on loopback that scrapes what a test names, and answers queries."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stream.embedded_redis import free_port
from tests.shop import PATIENCE_S, wait_until

SCRAPED_EVERY = "500ms"


class QueryError(AssertionError):
    """Prometheus refuses a query; the text is what it says."""


class Prometheus:
    """Asks a server that is running."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of this moment. Raises QueryError."""
        answer = self._client.get(f"{self._url}/api/v1/query", params={"query": expression}).json()
        if answer["status"] != "success":
            raise QueryError(f"{expression}: {answer['error']}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def is_ready(self) -> bool:
        """Whether it serves."""
        try:
            return self._client.get(f"{self._url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running_prometheus(targets: Mapping[str, int], folder: Path) -> Iterator[Prometheus]:
    """One that scrapes these jobs, each at a port of 127.0.0.1; skips where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus here: Debian's package of that name has it")
    scraped = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for job, port in targets.items()
    ]
    often = {"scrape_interval": SCRAPED_EVERY, "scrape_timeout": SCRAPED_EVERY}
    config = {"global": often, "scrape_configs": scraped}
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        with httpx.Client(timeout=PATIENCE_S) as client:
            server = Prometheus(f"http://{address}", client)
            wait_until(
                lambda: server.is_ready() or process.poll() is not None, f"{program}; see {log}"
            )
            assert process.poll() is None, log.read_text(errors="replace")
            yield server
    finally:
        process.terminate()
        process.wait(30)
