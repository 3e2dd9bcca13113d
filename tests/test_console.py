"""What the console serves, to whom, and what its page may do."""

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.events import Click, Purchase
from serving.merge import ProfileUpdate
from serving.profile import pack_interaction, profile_of
from serving.why import LANGUAGES
from stream.console.audience import MOST_WAITING, Audience, Viewer, message
from stream.console.pages import FOLDER
from stream.settings import Settings, SettingsError
from tests.api_client import Api, open_api, prepare, write_keys

FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
ARGUMENT = re.compile(r"{(\w+)}")
CLICK = {"type": "click", "event_id": "e", "user_id": "u", "ts": 1, "item_id": "tea-1"}
ASKED: list[tuple[str, str, Any]] = [
    ("GET", "/console/", None),
    ("GET", "/console/main.js", None),
    ("GET", "/console/products", None),
    ("GET", "/console/users/u", None),
    ("POST", "/console/events", CLICK),
]


def with_console(settings: Settings, **more: Any) -> Settings:
    return settings.model_copy(update={"console": True, **more})


async def ask(api: Api, asked: tuple[str, str, Any], **more: Any) -> httpx.Response:
    method, path, body = asked
    return await api.client.request(method, path, json=body, **more)


async def test_there_is_none_unless_it_is_asked_for(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    async with open_api(stream_settings) as api:
        assert [(await ask(api, each)).status_code for each in ASKED] == [404] * len(ASKED)


async def test_without_keys_this_machine_alone_is_served(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    settings = with_console(stream_settings)
    async with open_api(settings) as api:
        statuses = [(await ask(api, each)).status_code for each in ASKED]
        assert statuses == [200, 200, 200, 200, 202]
        stranger = {"Host": "shop.example"}
        statuses = [(await ask(api, each, headers=stranger)).status_code for each in ASKED]
        assert statuses == [403] * len(ASKED)
    async with open_api(settings, client=("203.0.113.7", 4)) as api:
        assert [(await ask(api, each)).status_code for each in ASKED] == [403] * len(ASKED)


async def test_with_keys_a_browser_is_asked_for_one(
    stream_settings: Settings, tmp_path: Path
) -> None:
    await prepare(stream_settings)
    bearers = write_keys(tmp_path / "keys", reader="read", both="read,write")
    settings = with_console(stream_settings, api_keys=tmp_path / "keys")

    def basic(name: str) -> dict[str, str]:
        key = bearers[name]["Authorization"].removeprefix("Bearer ")
        return {"Authorization": "Basic " + b64encode(f"anybody:{key}".encode()).decode()}

    wrong: tuple[dict[str, str], ...] = (
        {},
        bearers["both"],
        {"Authorization": "Basic é"},
        {"Authorization": "Basic YTpi"},
    )
    async with open_api(settings, client=("203.0.113.7", 4)) as api:
        for each in ASKED:
            for headers in wrong:
                raw = {name: value.encode() for name, value in headers.items()}
                answer = await ask(api, each, headers=raw)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic realm=")
            assert (await ask(api, each, headers=basic("both"))).status_code in (200, 202)
            may_read = (await ask(api, each, headers=basic("reader"))).status_code
            assert may_read == (403 if each[0] == "POST" else 200)
        # A browser sends what it was once told to any page's request: the API does not take it.
        answer = await api.client.get("/v1/users/u/recommendations", headers=basic("both"))
        assert answer.status_code == 401


async def test_another_sites_form_can_send_nothing(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    async with open_api(with_console(stream_settings)) as api:
        answer = await api.client.post(
            "/console/events",
            content=json.dumps(CLICK),
            headers={"Content-Type": "text/plain", "Origin": "https://shop.example"},
        )
        assert answer.status_code == 415
        assert "access-control-allow-origin" not in answer.headers


async def test_the_page_may_run_its_own_scripts_alone(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    async with open_api(with_console(stream_settings)) as api:
        for path in ("/console/", "/console/shop.js", "/console/zh.json", "/console/console.css"):
            answer = await api.get(path)
            assert answer.status_code == 200
            (policy,) = answer.headers.get_list("content-security-policy")
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
        moved = await api.get("/console")
        assert moved.status_code == 307
        assert moved.headers["location"] == "console/"
        for path in ("/console/../console.py", "/console/%2e%2e/console.py", "/console/none.js"):
            assert (await api.get(path)).status_code == 404
        (policy,) = (await api.get("/health/ready")).headers.get_list("content-security-policy")
        assert policy == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    hosts = set(re.findall(r"https?://[^\s\"'`)<>]+", path.read_text("utf-8")))
    assert hosts <= {"http://www.w3.org/2000/svg"}
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in path.read_text("utf-8")


def test_the_page_has_no_script_or_style_in_its_markup() -> None:
    markup = (FOLDER / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", markup)


def test_every_word_is_there_in_every_language_and_used() -> None:
    words = {each: json.loads((FOLDER / f"{each}.json").read_text("utf-8")) for each in LANGUAGES}
    keys = set(words["en"])
    source = "\n".join(each.read_text("utf-8") for each in FILES if each.suffix in (".js", ".html"))
    for language, of_language in words.items():
        assert set(of_language) == keys, language
        assert all(of_language.values()), language
        for key, text in of_language.items():
            assert set(re.findall(r"{(\w+)}", text)) == set(
                re.findall(r"{(\w+)}", words["en"][key])
            )
    said = set(re.findall(r"(?:say\(|data-(?:say|label|hint)=)\"(\w+)\"", source))
    assert said <= keys
    prefixes = ("kind_", "source_")
    unused = {
        key
        for key in keys
        if not key.startswith(prefixes) and not re.search(rf"\"{key}\"|\b{key}:", source)
    }
    put_together = {"cart_item", "purchase_item"}
    states_of_workers = {"ready", "waiting"}
    assert unused == put_together | states_of_workers


async def test_shelves(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    async with open_api(with_console(stream_settings)) as api:
        shelf = (await api.get("/console/products?count=7&first=3")).json()
        assert (len(shelf["products"]), shelf["total"]) == (7, 100)
        assert {each["name"]: each["items"] for each in shelf["departments"]} == {
            "电子产品": 25, "sweets": 25, "drinks": 25, "books": 25,
        }  # fmt: skip
        every = (await api.get("/console/products?count=200")).json()["products"]
        assert every[2:9] == shelf["products"]
        found = (await api.get("/console/products?query=智能手机&count=200")).json()
        assert found["products"][0]["title"].startswith("智能手机")
        drinks = (await api.get("/console/products?department=drinks&count=200")).json()
        assert drinks["total"] == 25
        assert {each["category"][0] for each in drinks["products"]} == {"drinks"}
        for wrong in ("count=0", "count=201", "first=-1", "sort=price"):
            assert (await api.get(f"/console/products?{wrong}")).status_code == 400


async def test_a_user_is_told_as_his_profile_says(stream_settings: Settings) -> None:
    await prepare(stream_settings)
    async with open_api(with_console(stream_settings)) as api:
        unknown = (await api.get("/console/users/nobody")).json()
        assert (unknown["is_known"], unknown["events"], unknown["last_lists"]) == (False, [], [])
        day = 86_400_000
        events = (
            Purchase(event_id="p", user_id="小明/1", ts=20_000 * day, item_id="phone-1"),
            Click(event_id="c", user_id="小明/1", ts=20_001 * day, item_id="tea-1"),
            Click(event_id="g", user_id="小明/1", ts=20_002 * day, item_id="gone"),
        )
        profile = profile_of([pack_interaction(each) for each in events], [])
        update = ProfileUpdate("小明/1", others=profile)
        await api.service.parts.store.merge([update])
        told = (await api.get("/console/users/%E5%B0%8F%E6%98%8E%2F1")).json()
        assert [(each["kind"], each["time"] // day) for each in told["events"]] == [
            ("click", 20_002), ("click", 20_001), ("purchase", 20_000),
        ]  # fmt: skip
        titles = [each["product"] and each["product"]["title"] for each in told["events"]]
        assert titles == [None, "green tea 1", "智能手机 1"]
        assert (told["interactions"], told["purchases"], told["searches"]) == (3, 1, 0)
        assert {tuple(each["name"]) for each in told["categories"]} == {
            ("电子产品", "智能手机"), ("drinks", "green tea"),
        }  # fmt: skip
        assert [each["name"] for each in told["brands"]] == [["Nordlicht"]]


async def test_a_page_that_reads_slowly_is_told_the_newest() -> None:
    audience = Audience()
    slow, other = Viewer("ann"), Viewer("bob")
    for each in (slow, other):
        audience.enter(each)
    assert audience.wants(b"ann")
    assert not audience.wants(b"eve")
    for number in range(MOST_WAITING + 5):
        audience.tell_user(b"ann", message("list", number))
    audience.dismiss()
    told = [each async for each in slow.messages()]
    assert told[-1] == message("list", MOST_WAITING + 4)
    assert len(told) == MOST_WAITING - 1
    assert [each async for each in other.messages()] == []
    audience.leave(slow)
    assert not audience.wants(b"ann")
    assert audience.present.is_set()
    audience.leave(other)
    assert not audience.present.is_set()


def test_a_message_is_one_line_of_json() -> None:
    sent = message("letter", {"detail": "two\nlines\r\n"})
    assert sent == b'event: letter\ndata: {"detail":"two\\nlines\\r\\n"}\n\n'


def test_workers_are_named_by_address() -> None:
    assert Settings(console_workers="a:1, [::1]:2").console_worker_list == ["a:1", "[::1]:2"]
    with pytest.raises(SettingsError, match="write host:port"):
        Settings(console_workers="a:1,b")
