"""The Grafana dashboard: its queries name metrics that exist, and a real Prometheus answers."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.events import Cart, Click, Impression, Purchase, Search
from stream.embedded_redis import free_port
from stream.settings import Settings
from tests.api_client import serving
from tests.prometheus_server import Prometheus, QueryError, running_prometheus
from tests.shop import PATIENCE_S, Shop, running_shop, wait_until
from tests.test_alerts import told

ROOT = Path(__file__).parent.parent
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy" / "grafana" / "dashboard.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
TITLES = [panel["title"] for panel in PANELS]
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in."""

QUIET = {"Again"}
"""Panels of faults that this test does not bring about."""


def expressions(panel: dict[str, Any]) -> list[str]:
    """A panel's queries as Prometheus gets them."""
    found = []
    for target in panel["targets"]:
        text = target["expr"]
        for name, value in VARIABLES.items():
            text = text.replace(name, value)
        found.append(text)
    return found


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_every_metric_exists(panel: dict[str, Any]) -> None:
    for text in expressions(panel):
        used = set(re.findall(r"\b(?:nextclick|process)_\w+", text))
        assert used, text
        assert used <= told() | OF_PROCESSES
        assert "$" not in text, "a variable that Grafana does not know"


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(TITLES)) == len(TITLES)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source["uid"] == "${datasource}" for source in sources)
    assert "datasource" in {each["name"] for each in DASHBOARD["templating"]["list"]}


def test_every_alert_is_marked_on_the_dashboard() -> None:
    [alerts] = DASHBOARD["annotations"]["list"]
    assert 'alertname=~"Nextclick.*"' in alerts["expr"]


@pytest.fixture(scope="module")
def watched(
    stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, str, Prometheus]]:
    """A shop with a worker and an API that do something of everything, and a Prometheus."""
    folder = tmp_path_factory.mktemp("watched")
    ports = {"nextclick": free_port(), "nextclick-api": free_port()}
    settings = stream_settings.model_copy(
        update={"metrics_port": ports["nextclick"], "api_port": ports["nextclick-api"]}
    )
    with (
        running_shop(settings, folder, workers=1) as shop,
        serving(settings, folder / "api.log") as url,
        running_prometheus(ports, folder) as prometheus,
    ):
        yield shop, url, prometheus


def bustle(shop: Shop, url: str, round_number: int) -> None:
    """Something of everything that users, producers and callers do."""
    now, user = int(time.time() * 1000), f"user-{round_number}"
    search = Search(event_id=f"s{round_number}", user_id=user, ts=now, query="green tea")
    shop.send(search)
    found = shop.list_for(search)
    item = found.items[0].item_id
    shown = tuple(each.item_id for each in found.items)
    of_list: dict[str, Any] = {"user_id": user, "ts": now + 1, "rec_id": found.rec_id}
    shop.send(
        Impression(event_id=f"i{round_number}", item_ids=shown, **of_list),
        Click(event_id=f"c{round_number}", item_id=item, position=1, **of_list),
        Cart(event_id=f"t{round_number}", item_id=item, **of_list),
        Purchase(event_id=f"p{round_number}", item_id="nobody-knows-it", user_id=user, ts=now),
        Click(event_id=f"o{round_number}", user_id=user, ts=now - 86_400_000, item_id="tea-3"),
    )
    shop.send_bytes(b"no event", b"nobody")
    shop.flush()
    asked = httpx.post(f"{url}/v1/recommendations", json={"user_id": user}, timeout=PATIENCE_S)
    assert asked.status_code == 200


def test_a_real_prometheus_answers_every_query(watched: tuple[Shop, str, Prometheus]) -> None:
    shop, url, prometheus = watched
    missing: dict[str, list[str]] = {}
    rounds = iter(range(1_000))

    def all_answered() -> bool:
        # Rates need what happens between two scrapes.
        bustle(shop, url, next(rounds))
        missing.clear()
        for panel in PANELS:
            empty = [text for text in expressions(panel) if not prometheus.query(text)]
            if len(empty) == len(panel["targets"]) and panel["title"] not in QUIET:
                missing[panel["title"]] = empty
        return not missing

    try:
        wait_until(all_answered, "every panel shows something")
    except AssertionError:
        pytest.fail(f"panels without a line: {missing}")


def test_a_broken_query_would_be_found(watched: tuple[Shop, str, Prometheus]) -> None:
    _, _, prometheus = watched
    with pytest.raises(QueryError, match="parse error"):
        prometheus.query("sum(rate(nextclick_lists_total)")
    assert prometheus.query("nextclick_nothing_of_this_name") == []
