"""Who may call the API: keys, scopes and rates, and without keys this machine alone."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model.events import Click, Forget, encode_event
from stream.api import service
from stream.api.app import OPERATIONS
from stream.api.keys import ApiKey, KeyRing, KeysError, key_hash, new_key, read_keys
from stream.api.rate_limit import RateLimit
from stream.cli import app
from stream.settings import Settings, SettingsError
from tests.api_client import open_api, prepare, write_keys
from tests.kafka_log import read

SCOPED = {each.name: each for each in OPERATIONS if each.scope}
BODIES: dict[str, Any] = {
    "recommend": {"user_id": "u"},
    "sendEvents": {"type": "click", "event_id": "e", "user_id": "u", "ts": 1, "item_id": "tea-1"},
}


def path(name: str) -> str:
    return SCOPED[name].path.replace("{user}", "u").replace("{item}", "tea-1")


async def test_each_operation_needs_a_key_with_its_scope(
    stream_settings: Settings, tmp_path: Path
) -> None:
    await prepare(stream_settings)
    keys = tmp_path / "keys"
    every = ["read", "recommend", "write", "forget"]
    headers = write_keys(keys, **{scope: scope for scope in every})
    settings = stream_settings.model_copy(update={"api_keys": keys})
    async with open_api(settings, client=("203.0.113.7", 4)) as api:
        for name, operation in SCOPED.items():
            ask: dict[str, Any] = {"json": BODIES[name]} if name in BODIES else {}
            method, where = operation.method, path(name)
            nobody = await api.client.request(method, where, **ask)
            assert nobody.status_code == 401
            assert nobody.headers["www-authenticate"] == "Bearer"
            assert "nextclick api-key" in nobody.json()["detail"]
            for wrong in ("Bearer nck_wrong", "Basic abc", "Bearer", "Bearer é"):
                answer = await api.client.request(
                    method, where, headers={b"Authorization": wrong.encode()}, **ask
                )
                assert answer.status_code == 401
            for scope in every:
                answer = await api.client.request(method, where, headers=headers[scope], **ask)
                assert (answer.status_code == 403) == (scope != operation.scope), name
                if scope != operation.scope:
                    assert f"`{operation.scope}`" in answer.json()["detail"]
        assert (await api.get("/health/live")).status_code == 200
        assert (await api.get("/health/ready")).status_code == 200


async def test_a_forget_event_needs_the_scope_to_forget(
    stream_settings: Settings, tmp_path: Path
) -> None:
    await prepare(stream_settings)
    headers = write_keys(tmp_path / "keys", writer="write", both="write,forget")
    settings = stream_settings.model_copy(update={"api_keys": tmp_path / "keys"})
    now = time.time_ns() // 1_000_000
    events = [
        json.loads(encode_event(Forget(event_id="f", user_id="erased", ts=now))),
        json.loads(encode_event(Click(event_id="c", user_id="erased", ts=now, item_id="tea-1"))),
    ]
    async with open_api(settings) as api:
        alone = await api.post("/v1/events", events[0], headers=headers["writer"])
        assert alone.status_code == 403
        mixed = await api.post("/v1/events", events, headers=headers["writer"])
        assert mixed.status_code == 207
        assert [each["status"] for each in mixed.json()["results"]] == ["refused", "stored"]
        allowed = await api.post("/v1/events", events[0], headers=headers["both"])
        assert allowed.status_code == 202
    found = await read(settings.brokers, settings.events_topic)
    stored = [each.value for of in found.values() for each in of if each.key == b"erased"]
    assert [json.loads(each)["type"] for each in stored] == ["click", "forget"]


async def test_a_key_may_ask_as_often_as_its_rate_allows(
    stream_settings: Settings, tmp_path: Path
) -> None:
    await prepare(stream_settings)
    headers = write_keys(tmp_path / "keys", slow="read 2", quick="read")
    settings = stream_settings.model_copy(update={"api_keys": tmp_path / "keys"})
    async with open_api(settings) as api:
        api.service.rate_limit = RateLimit(lambda: 0.0)  # no time passes
        statuses = [
            (await api.get("/metrics", headers=headers["slow"])).status_code for _ in range(3)
        ]
        assert statuses == [200, 200, 429]
        told = await api.get("/metrics", headers=headers["slow"])
        assert int(told.headers["retry-after"]) >= 1
        assert "2 requests a second" in told.json()["detail"]
        assert (await api.get("/metrics", headers=headers["quick"])).status_code == 200


def test_a_bucket_fills_evenly() -> None:
    now = 100.0
    limit = RateLimit(lambda: now)
    assert [limit.wait_s("k", 4) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    now += 0.25
    assert [limit.wait_s("k", 4), limit.wait_s("k", 4)] == [0, 0.25]
    now += 1_000
    assert [limit.wait_s("k", 4) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert [limit.wait_s("seldom", 0.5), limit.wait_s("seldom", 0.5)] == [0, 2]


@pytest.mark.parametrize(
    ("client", "headers", "served"),
    [
        (("127.0.0.1", 1), {}, True),
        (("::1", 1), {"Host": "[::1]:8080"}, True),
        (("127.0.0.1", 1), {"Host": "localhost:8080"}, True),
        (("203.0.113.7", 1), {}, False),
        (("127.0.0.1", 1), {"Host": "shop.example"}, False),
        (("127.0.0.1", 1), {"Host": "shop.example:8080"}, False),
        (("127.0.0.1", 1), {"X-Forwarded-For": "203.0.113.7"}, False),
        (("127.0.0.1", 1), {"Forwarded": "for=203.0.113.7"}, False),
    ],
)
async def test_without_keys_only_this_machine_is_served(
    stream_settings: Settings, client: tuple[str, int], headers: dict[str, str], served: bool
) -> None:
    await prepare(stream_settings)
    async with open_api(stream_settings, client=client, headers=headers) as api:
        answer = await api.get("/metrics")
        assert answer.status_code == (200 if served else 403)
        assert (await api.get("/health/live")).status_code == 200, "a probe comes from anywhere"


async def test_a_key_that_is_taken_out_of_the_file_is_none(
    stream_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_S", 0.01)
    await prepare(stream_settings)
    keys = tmp_path / "keys"
    headers = write_keys(keys, old="read")
    settings = stream_settings.model_copy(update={"api_keys": keys})
    async with open_api(settings) as api:
        assert (await api.get("/metrics", headers=headers["old"])).status_code == 200
        new = write_keys(keys, new="read")
        async with asyncio.timeout(60):
            while (await api.get("/metrics", headers=headers["old"])).status_code != 401:
                await asyncio.sleep(0.01)
        assert (await api.get("/metrics", headers=new["new"])).status_code == 200


def test_only_hashes_are_kept(tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app, ["api-key", "shop", "--scope", "read", "--scope", "write", "--rate", "50", "--json"]
    )
    found = json.loads(made.stdout)
    assert found["key"] not in found["line"]
    (tmp_path / "keys").write_text(found["line"])
    ring = KeyRing(tmp_path / "keys")
    known = ring.find(found["key"])
    assert known is not None
    assert known == ApiKey("shop", frozenset(("read", "write")), 50)
    assert ring.find(found["key"] + "x") is None
    assert len({new_key("shop", ["read"])[0] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("shop read", "expected NAME"),
        (f"shop everything {key_hash('k')}", "'everything' is no scope"),
        (f"shop read {key_hash('k')} rate=0", "is no rate"),
        (f"shop read {key_hash('k')} 7", "is no rate"),
        (f"a read {key_hash('k')}\nb read {key_hash('k')}", "stands there twice"),
        (f"a read {key_hash('k')}\na read {key_hash('l')}", "another name"),
        ("shop read nck_the-key-itself", "sha256:"),
    ],
)
def test_a_line_at_fault_is_told(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "keys").write_text(lines)
    with pytest.raises(KeysError, match=said):
        read_keys(tmp_path / "keys")


def test_a_changed_file_at_fault_lets_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, line = new_key("shop", ["read"])
    (tmp_path / "keys").write_text(line)
    ring = KeyRing(tmp_path / "keys")
    assert ring.find(key) is not None
    (tmp_path / "keys").write_text("oops")
    ring.reload()
    assert ring.find(key) is None
    assert "no API key is valid" in caplog.text
    (tmp_path / "keys").write_text(line + "\n")
    ring.reload()
    assert ring.find(key) is not None


def test_more_than_this_machine_needs_keys(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nextclick api-key"):
        Settings(api_bind="0.0.0.0")
    (tmp_path / "keys").write_text("")
    assert Settings(api_bind="0.0.0.0", api_keys=tmp_path / "keys").api_bind == "0.0.0.0"
    assert Settings(api_bind="::1").api_keys is None
    with pytest.raises(SettingsError, match="not a file"):
        Settings(api_keys=tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="go together"):
        Settings(api_cert_file=tmp_path / "keys")
