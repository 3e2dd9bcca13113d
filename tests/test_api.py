"""The HTTP API on a real broker and a real Redis: every operation, and what it says of errors."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from model.events import Click, Forget, Search, decode_event, encode_event
from serving.recommend import recommend, recommend_user
from serving.recommendation import decode_recommendation
from stream.api.app import OPERATIONS
from stream.settings import Settings
from tests.api_client import Api, open_api, prepare
from tests.kafka_log import read
from tests.parts import records_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD_IDS = ["a/b", "用户 1", "100%", "?x=1#y", "..", "a\nb", "🙂" * 64]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(stream_settings: Settings) -> AsyncIterator[Api]:
    await prepare(stream_settings)
    async with open_api(stream_settings) as opened:
        yield opened


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def click(user: str, item: str, number: int = 0) -> Click:
    return Click(event_id=f"{item}-{number}-{now_ms()}", user_id=user, ts=now_ms(), item_id=item)


async def shop(api: Api, *clicks: Click, first: int) -> None:
    """Have the events learnt, as a worker would, and the lists kept."""
    outcome = await recommend(api.service.parts, records_of(clicks, first=first))
    assert len(outcome.lists) == len({each.user_id for each in clicks})
    await api.service.parts.store.keep(outcome.lists)


def is_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The details of a problem, which always say what to do."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert details["type"] == f"urn:nextclick:problem:{kind}"
    assert details["status"] == status
    assert details["detail"]
    return details


async def records(api: Api) -> list[Any]:
    settings = api.service.settings
    found = await read(settings.brokers, settings.events_topic)
    return [record for each in found.values() for record in each]


async def test_the_last_list_of_a_user_is_the_one_that_was_kept(api: Api) -> None:
    await shop(api, click("last", "tea-1"), first=0)
    answer = await api.get("/v1/users/last/recommendations")
    assert answer.status_code == 200
    kept = await api.service.parts.store.last_list("last")
    assert decode_recommendation(answer.content) == kept
    assert kept is not None
    assert kept.items


async def test_a_user_without_a_list_is_not_found(api: Api) -> None:
    details = is_problem(await api.get("/v1/users/nobody/recommendations"), 404, "not-found")
    assert "POST /v1/recommendations" in details["detail"]


@pytest.mark.parametrize("user", ODD_IDS, ids=range(len(ODD_IDS)))
async def test_any_id_can_stand_in_a_path(api: Api, user: str) -> None:
    await shop(api, click(user, "book-1"), first=1_000 + 10 * ODD_IDS.index(user))
    # A client of its own would resolve dots.
    path = quote(user, safe="").replace(".", "%2E")
    answer = await api.get(f"/v1/users/{path}/recommendations")
    assert decode_recommendation(answer.content).user_id == user


@pytest.mark.parametrize("path", ["x" * 257, "%FF", "%F0%9F"])
async def test_what_is_no_id_is_refused(api: Api, path: str) -> None:
    is_problem(await api.get(f"/v1/users/{path}/recommendations"), 400, "malformed")


async def test_a_list_on_demand_is_that_of_the_path(api: Api) -> None:
    users = [f"demand-{at}" for at in range(6)]
    await shop(api, *(click(user, f"phone-{at}") for at, user in enumerate(users)), first=2_000)
    # As it is done every few seconds: or what is popular may change between a list and the other.
    await api.service.parts.candidates.refresh_popular()
    answers = await asyncio.gather(
        *(api.post("/v1/recommendations", {"user_id": user}) for user in users)
    )
    for user, answer in zip(users, answers, strict=True):
        assert answer.status_code == 200, answer.text
        alone = await recommend_user(api.service.parts, user)
        found = answer.json()
        assert found["user_id"] == user
        assert found["bundle"] == alone.bundle
        assert [each["item_id"] for each in found["items"]] == [
            each.item_id for each in alone.items
        ]
        assert [each["score"] for each in found["items"]] == pytest.approx(
            [each.score for each in alone.items], abs=1e-3
        )


async def test_a_query_makes_the_list_of_a_search(api: Api) -> None:
    answer = await api.post("/v1/recommendations", {"user_id": "seeker", "query": "智能手机"})
    assert {each["item_id"].partition("-")[0] for each in answer.json()["items"]} == {"phone"}
    assert answer.json()["query"] == "智能手机"


async def test_a_shop_can_order_its_own_hits(api: Api) -> None:
    await shop(api, click("ranker", "book-3"), first=3_000)
    hits = ["book-3", "tea-5", "no such item", "chocolate-9", "tea-5"]
    answer = await api.post("/v1/recommendations", {"user_id": "ranker", "items": hits})
    found = answer.json()
    assert sorted(each["item_id"] for each in found["items"]) == ["book-3", "chocolate-9", "tea-5"]
    assert found["left_out"] == ["no such item"]
    scores = [each["score"] for each in found["items"]]
    assert scores == sorted(scores, reverse=True)


async def test_a_filter_leaves_only_what_it_selects(api: Api) -> None:
    asked = {"user_id": "u", "only": {"categories": ["sweets"], "price": {"max": 3}}, "count": 5}
    items = (await api.post("/v1/recommendations", asked)).json()["items"]
    names = {each["item_id"] for each in items}
    assert names == {"chocolate-0", "chocolate-1", "chocolate-2", "chocolate-3"}


async def test_a_list_is_as_long_as_was_asked(api: Api) -> None:
    for count in (1, 7, 20):
        made = (await api.post("/v1/recommendations", {"user_id": "u", "count": count})).json()
        assert len(made["items"]) == count


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b"[]", 422, "breaks-contract"),
        (b"{}", 422, "breaks-contract"),
        (b'{"user_id":""}', 422, "breaks-contract"),
        (b'{"user_id":"' + b"x" * 257 + b'"}', 422, "breaks-contract"),
        (b'{"user_id":"u","querry":"tea"}', 422, "breaks-contract"),
        (b'{"user_id":"u","count":0}', 422, "breaks-contract"),
        (b'{"user_id":"u","count":1001}', 422, "breaks-contract"),
        (b'{"user_id":"u","only":{"price":{"min":2,"max":1}}}', 422, "breaks-contract"),
        (b'{"user_id":"u","only":{"colour":["red"]}}', 422, "breaks-contract"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    api: Api, body: bytes, status: int, kind: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.client.post("/v1/recommendations", content=body, headers=headers)
    is_problem(answer, status, kind)


async def test_similar_items_tell_their_sources(api: Api) -> None:
    for number in range(3):
        user = f"pair-{number}"
        clicks = click(user, "tea-7"), click(user, "chocolate-7")
        await recommend(api.service.parts, records_of(clicks, first=4_000 + 10 * number))
    answer = await api.get("/v1/items/tea-7/similar?count=5")
    found = {each["item_id"]: each for each in answer.json()["items"]}
    assert len(found) == 5
    assert "tea-7" not in found
    assert "together" in found["chocolate-7"]["sources"]
    assert found["chocolate-7"]["together"] == pytest.approx(3, abs=0.01)
    only = (await api.get("/v1/items/tea-7/similar?by=together")).json()["items"]
    assert [each["item_id"] for each in only] == ["chocolate-7"]
    near = (await api.get("/v1/items/tea-7/similar?by=vectors&count=100")).json()["items"]
    cosines = [each["cosine"] for each in near]
    assert cosines == sorted(cosines, reverse=True)
    assert {each["sources"][0] for each in near} == {"vectors"}


async def test_an_item_that_the_network_does_not_know_has_no_vectors(api: Api) -> None:
    # The last two of the catalogue are not in the bundle.
    answer = await api.get("/v1/items/book-24/similar?by=vectors")
    assert answer.json()["items"] == []


@pytest.mark.parametrize(
    "parameters", ["count=0", "count=101", "count=x", "count=1&count=2", "by=colour", "cout=3"]
)
async def test_parameters_are_checked(api: Api, parameters: str) -> None:
    is_problem(await api.get(f"/v1/items/tea-1/similar?{parameters}"), 400, "malformed")


async def test_an_unknown_item_is_not_found(api: Api) -> None:
    is_problem(await api.get("/v1/items/nothing/similar"), 404, "not-found")


async def test_an_event_stands_in_the_topic_as_it_came(api: Api) -> None:
    sent = {**json.loads(encode_event(click("sender", "tea-1"))), "colour": "unknown fields stay"}
    answer = await api.post("/v1/events", sent)
    assert answer.status_code == 202
    (result,) = answer.json()["results"]
    (record,) = [each for each in await records(api) if each.key == b"sender"]
    assert json.loads(record.value) == sent
    assert (record.partition, record.offset) == (result["partition"], result["offset"])


async def test_of_a_batch_each_record_has_its_result_and_its_order(api: Api) -> None:
    good = [json.loads(encode_event(click("batch", f"tea-{at}"))) for at in range(20)]
    bad = {"type": "click", "event_id": "e", "user_id": "batch", "ts": now_ms()}
    answer = await api.post("/v1/events", [*good[:10], bad, *good[10:]])
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert answer.json()["stored"] == 20
    assert [each["status"] for each in results] == ["stored"] * 10 + ["refused"] + ["stored"] * 10
    assert results[10]["reason"] == "invalid"
    stored = [each for each in await records(api) if each.key == b"batch"]
    assert [json.loads(each.value)["item_id"] for each in stored] == [
        f"tea-{at}" for at in range(20)
    ]
    assert [each.offset for each in stored] == [
        each["offset"] for each in results if each["status"] == "stored"
    ]


@pytest.mark.parametrize(
    ("body", "status", "kind", "reason"),
    [
        (b"{", 400, "malformed", None),
        (b"", 400, "malformed", None),
        (b"[", 400, "malformed", None),
        (b"[]", 422, "breaks-contract", "invalid"),
        (b"7", 422, "breaks-contract", "invalid"),
        (b"[7,{}]", 422, "breaks-contract", "invalid"),
        (b'{"type":"teleport"}', 422, "breaks-contract", "invalid"),
        (b"[" + b",".join([b"{}"] * 1_001) + b"]", 422, "breaks-contract", "invalid"),
    ],
)
async def test_what_is_no_event_is_refused(
    api: Api, body: bytes, status: int, kind: str, reason: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.client.post("/v1/events", content=body, headers=headers)
    assert is_problem(answer, status, kind).get("reason") == reason


async def test_forgetting_is_the_event_of_the_command_line(api: Api) -> None:
    answer = await api.client.delete("/v1/users/a%2Fb")
    assert answer.status_code == 202
    found = [each for each in await records(api) if each.key == b"a/b"]
    event = decode_event(found[-1].value, now_ms())
    assert isinstance(event, Forget)
    assert (event.user_id, event.event_id) == ("a/b", answer.json()["event_id"])
    assert found[-1].offset == answer.json()["offset"]


async def test_a_path_below_a_user_is_no_user(api: Api) -> None:
    is_problem(await api.client.delete("/v1/users/u/recommendations"), 405, "wrong-method")
    assert not [each for each in await records(api) if each.key == b"u/recommendations"]


async def test_other_paths_and_methods_are_told(api: Api) -> None:
    details = is_problem(await api.get("/v2/users/u"), 404, "no-operation")
    assert "/v1/openapi.json" in details["detail"]
    refused = await api.client.put("/v1/events", json={})
    is_problem(refused, 405, "wrong-method")
    assert refused.headers["allow"] == "POST"


async def test_a_body_has_to_be_declared_and_of_bounded_size(api: Api) -> None:
    event = encode_event(click("u", "tea-1"))
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await api.client.post("/v1/events", content=event, headers={"Content-Type": kind})
        is_problem(answer, 415, "not-json")
    most = api.service.settings.api_max_body_bytes
    headers = {"Content-Type": "application/json"}

    async def without_length() -> AsyncIterator[bytes]:
        for _ in range(most // 65_536 + 1):
            yield b" " * 65_536

    for content in (b" " * (most + 1), without_length()):
        answer = await api.client.post("/v1/events", content=content, headers=headers)
        is_problem(answer, 413, "too-large")


async def test_health_and_metrics(api: Api) -> None:
    assert (await api.get("/health/live")).json() == {"status": "alive"}
    assert (await api.get("/health/ready")).json() == {"status": "ready"}
    found = await api.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    line = 'nextclick_api_requests_total{operation="live",status="200"}'
    assert any(each.startswith(line) for each in found.text.splitlines())


async def test_every_answer_has_the_headers_of_safety_and_none_lets_other_pages_in(
    api: Api,
) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    for path in ("/health/live", "/v1/users/nobody/recommendations", "/nowhere"):
        headers = (await api.get(path, headers=origin)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "strict-transport-security" not in headers, "this is no TLS"
        assert not [name for name in headers if name.startswith("access-control")]
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    answer = await api.client.options("/v1/events", headers=asked)
    assert answer.status_code == 405


async def test_the_description_is_served(api: Api) -> None:
    document = (await api.get("/v1/openapi.json")).json()
    served = {(method.upper(), path) for path, each in document["paths"].items() for method in each}
    assert served == {(each.method, each.path) for each in OPERATIONS}


async def test_a_fault_of_ours_is_told_without_its_words(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(users: list[str]) -> list[bytes]:
        raise KeyError(f"secret of {users}")

    monkeypatch.setattr(api.service.parts.store, "last_lists_json", breaks)
    answer = await api.get("/v1/users/private-person/recommendations")
    is_problem(answer, 500, "at-fault")
    assert "secret" not in answer.text
    assert "KeyError" in caplog.text
    assert "private-person" not in caplog.text


async def test_no_user_is_named_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    caplog.set_level("WARNING", "httpx")  # the caller's own
    await api.get("/v1/users/private-person/recommendations")
    await api.post("/v1/recommendations", {"user_id": "private-person"})
    await api.post("/v1/events", json.loads(encode_event(click("private-person", "tea-1"))))
    await api.client.delete("/v1/users/private-person")
    assert "private-person" not in caplog.text


async def test_a_search_is_stored_too(api: Api) -> None:
    event = Search(event_id="s", user_id="searches", ts=now_ms(), query="茶")
    assert (await api.post("/v1/events", json.loads(encode_event(event)))).status_code == 202
