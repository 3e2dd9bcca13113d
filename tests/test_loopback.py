"""Whatever is started listens to this machine alone, unless told otherwise; TLS of the API."""

import os
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
import pytest

from stream.cluster import LocalCluster
from stream.embedded_redis import free_port
from stream.settings import Settings
from tests.api_client import prepare, running, serving
from tests.certificates import Authority
from tests.shop import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Broker and Redis; workers on call, with their metrics."""
    folder = tmp_path_factory.mktemp("loopback")
    settings = Settings(
        bundle=folder / "bundle", provider="cpu", metrics_port=free_port(), partitions=1
    )
    with LocalCluster(settings, logs=folder / "logs") as started:
        yield started


def listening() -> set[tuple[str, int]]:
    """Address and port of each socket that this process and its children listen with."""
    own = psutil.Process(os.getpid())
    return {
        (each.laddr.ip, each.laddr.port)
        for process in (own, *own.children(recursive=True))
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


async def test_every_server_listens_to_this_machine_alone(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    before = {port for _, port in listening()}
    await prepare(cluster.settings)
    cluster.start_workers(1)
    settings = cluster.settings.model_copy(update={"api_port": free_port(), "metrics_port": 0})
    with serving(settings, tmp_path / "api.log"):
        found = listening()
    redis_port = int(settings.redis_url.rpartition(":")[2].partition("/")[0])
    ours = {int(settings.brokers.rpartition(":")[2]), redis_port}
    ours |= {settings.api_port, cluster.settings.metrics_port}
    assert {port for _, port in found} >= ours | before, "all of them were looked at"
    assert [each for each in found if not ip_address(each[0]).is_loopback] == []


async def test_the_api_serves_tls(cluster: LocalCluster, tmp_path: Path) -> None:
    await prepare(cluster.settings)
    authority = Authority(tmp_path / "tls")
    files = authority.server()
    settings = cluster.settings.model_copy(
        update={
            "api_port": free_port(), "metrics_port": 0,
            "api_cert_file": files.certificate, "api_cert_key_file": files.key,
        }
    )  # fmt: skip
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    url = f"https://127.0.0.1:{settings.api_port}/health/live"

    def answer() -> httpx.Response | None:
        try:
            return httpx.get(url, verify=trusting, timeout=PATIENCE_S)
        except httpx.ConnectError:
            return None

    with running(settings, tmp_path / "api.log") as api:
        wait_until(lambda: answer() or api.poll() is not None, "the API answers")
        answered = answer()
        assert answered is not None, (tmp_path / "api.log").read_text()
        assert answered.json() == {"status": "alive"}
        # A browser that has been here by TLS never comes back without.
        assert answered.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"))
