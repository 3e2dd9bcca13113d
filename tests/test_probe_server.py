"""The bodies and statuses of a worker's probes; what they tell of real faults: test_liveness."""

from collections.abc import Iterator

import httpx
import pytest

from stream.liveness import Liveness
from stream.probe_server import ProbeServer
from stream.readiness import Part, Readiness
from tests.shop import PATIENCE_S


class Probed:
    """A server, and what it serves."""

    def __init__(self, bind: str) -> None:
        self.liveness, self.readiness = Liveness(150), Readiness()
        self.server = ProbeServer(bind, 0, self.liveness, self.readiness)
        host = f"[{bind}]" if ":" in bind else bind
        self.url = f"http://{host}:{self.server.port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)


@pytest.fixture
def probed() -> Iterator[Probed]:
    probed = Probed("127.0.0.1")
    yield probed
    probed.server.stop()


def test_a_worker_that_starts_is_alive_and_not_ready(probed: Probed) -> None:
    alive, ready = probed.get("/live"), probed.get("/ready")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert ready.status_code == 503
    assert ready.json() == {"status": "waiting", "causes": ["it starts, or stops"]}


def test_a_part_that_is_away_is_no_reason_to_start_again(probed: Probed) -> None:
    probed.readiness.open()
    assert probed.get("/ready").json() == {"status": "ready"}
    probed.readiness.wait("events", Part.REDIS, OSError("away"))
    ready = probed.get("/ready")
    assert ready.status_code == 503
    assert ready.json() == {"status": "waiting", "causes": ["redis is away"]}
    assert probed.get("/live").status_code == 200
    probed.readiness.go_on("events")
    assert probed.get("/ready").status_code == 200


def test_a_stall_breaks_both(probed: Probed) -> None:
    probed.readiness.open()
    probed.liveness.beat()
    probed.liveness.tell(("a rebalance has not ended for 150 s",))
    told = ["a rebalance has not ended for 150 s"]
    alive, ready = probed.get("/live"), probed.get("/ready")
    assert (alive.status_code, ready.status_code) == (503, 503)
    assert alive.json() == {"status": "broken", "causes": told}
    assert ready.json() == {"status": "waiting", "causes": told}


def test_metrics_stand_beside_them_and_nothing_else(probed: Probed) -> None:
    metrics = probed.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "nextclick_ready" in metrics.text
    assert probed.get("/").status_code == 404
    assert httpx.post(f"{probed.url}/live").status_code == 405
    assert httpx.head(f"{probed.url}/live").content == b""


def test_it_serves_on_an_address_of_ipv6() -> None:
    probed = Probed("::1")
    try:
        assert probed.get("/live").status_code == 200
    finally:
        probed.server.stop()
