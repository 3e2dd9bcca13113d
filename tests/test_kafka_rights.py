"""Kafka with an authorizer: each role has the rights of `nextclick acl --of kafka`, all of them
needed, and what is missing is told."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from model.events import Click, encode_event
from model.items import encode_item
from stream.acl import Role
from stream.kafka_acl import Binding, acl_commands, bindings
from stream.kafka_rights import RightsError, require_rights
from stream.settings import Settings, settings_environment
from stream.topics import create_topics
from tests.apache_kafka import PASSWORD, ApacheKafka
from tests.api_client import serving
from tests.command_line import ended, ran, typed
from tests.kafka_audit import Audit, allow, forbid_all, take_away
from tests.kafka_log import write
from tests.shop import ITEMS, PATIENCE_S, Shop, running_shop, wait_until
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.kafka

ROLES = get_args(Role)
ADVICE = "nextclick acl --of kafka"
_number = itertools.count()


@pytest.fixture(scope="module")
def kafka(kafka_classpath: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Where each role has a user of its name."""
    kafka = ApacheKafka(
        kafka_classpath,
        tmp_path_factory.mktemp("limited"),
        listeners=("PLAINTEXT", "SASL_PLAINTEXT"),
        limited=ROLES,
    )
    with kafka:
        yield kafka


@pytest.fixture
def audit(kafka: ApacheKafka) -> Audit:
    return Audit(kafka.log)


@pytest.fixture
def settings(kafka: ApacheKafka, redis_url: str, tmp_path: Path) -> Settings:
    """Of somebody who may do everything; topics and group are the test's own. The others may do
    nothing yet."""
    forbid_all(kafka.bootstrap)
    name = f"shop{next(_number)}"
    return Settings(
        brokers=kafka.bootstrap,
        redis_url=redis_url,
        provider="cpu",
        bundle=tmp_path / "bundle",
        partitions=1,
        count_shards=1,
        group=name,
        events_topic=f"{name}.events",
        dlq_topic=f"{name}.dlq",
        recommendations_topic=f"{name}.lists",
        catalog_topic=f"{name}.catalog",
        inputs=f"{name}.clicks=segment",
    )


def in_role(settings: Settings, kafka: ApacheKafka, role: Role, **more: Any) -> Settings:
    """The settings of the role's user."""
    login = {
        "brokers": kafka.bootstrap_for("SASL_PLAINTEXT"), "kafka_security": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "PLAIN", "kafka_username": role, "kafka_password": PASSWORD,
    }  # fmt: skip
    return Settings(**settings.model_dump() | login | more)


def permit(settings: Settings, kafka: ApacheKafka, *roles: Role) -> None:
    """Give users the rights of their roles."""
    for role in roles:
        allow(kafka.bootstrap, acl_commands(settings, f"User:{role}", role))


def act_in_role(monkeypatch: pytest.MonkeyPatch, settings: Settings, folder: Path) -> None:
    """Have the verbs of this process run so, with their files in the folder."""
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


def spoil(shop: Shop, topic: str) -> None:
    """Write what breaks the contract, and wait for the dead letter."""
    before = len(shop.dead_letters)
    shop.send_bytes(b"{", b"ana", topic=topic)
    shop.flush()
    shop.wait_for(lambda: len(shop.dead_letters) > before or None, "a dead letter")


def test_every_verb_runs_in_its_role_and_needs_all_of_its_rights(
    settings: Settings,
    kafka: ApacheKafka,
    audit: Audit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    permit(settings, kafka, "worker", "operator")
    act_in_role(monkeypatch, in_role(settings, kafka, "operator"), tmp_path)
    ran("topics")
    ran("topics", "--check")
    catalogue = tmp_path / "items.jsonl"
    catalogue.write_bytes(b"\n".join(map(encode_item, ITEMS)))
    ran("ingest", str(catalogue))
    [clicks] = settings.input_mappings
    with running_shop(settings, tmp_path / "shop", workers=0) as shop:
        shop.settings = in_role(settings, kafka, "worker")
        shop.start_workers(1)
        shop.list_for(shop.send_click("ana", "tea-1"))
        spoil(shop, settings.events_topic)
        spoil(shop, clicks)
        assert json.loads(ran("recommend", "ana", "--json"))["items"]
        [letter, _] = json.loads(ran("dlq", "list", "--json"))["dead_letters"]
        ran("dlq", "show", letter["place"])
        assert json.loads(ran("dlq", "redrive", "--all", "--json"))["sent"] == 2
        ran("replay", "topic", clicks, status=1)
        ran("replay", "topic", settings.events_topic, "--into", "shadow", status=1)
        ran("replay", "compare")
        ran("replay", "cutover")
        shop.list_for(shop.send_click("ana", "tea-2"))
        ran("replay", "rollback")
        ran("replay", "status")
        ran("replay", "drop", "1", "--yes")
        ran("forget", "ana", "--wait")
        assert audit.refused("operator") == {}
        checked = json.loads(ran("check", "--json"))["findings"]
    assert [each["text"] for each in checked if each["name"] == "kafka rights"] == [
        "are enough for the roles: operator, api"
    ]
    assert audit.used("operator") == set(bindings(settings, "operator"))
    assert audit.refused("worker") == {}
    assert audit.used("worker") == set(bindings(settings, "worker"))


def look_at_console(url: str, shop: Shop) -> None:
    """Until it has told of a list, a dead letter and figures."""
    wanted = {"event: greeting", "event: list", "event: letter", "event: figures"}
    with httpx.stream("GET", f"{url}/console/stream?user=ana", timeout=PATIENCE_S) as answer:
        for line in answer.iter_lines():
            if line == "event: greeting":
                send_click(url)
                spoil(shop, shop.settings.events_topic)
            wanted.discard(line)
            if line.startswith('data: {"beat"'):
                assert '"is_away":false' in line
            if not wanted:
                return
    raise AssertionError(f"the stream ended without {wanted}")


def send_click(url: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    event = Click(event_id=str(now_ms), user_id="ana", ts=now_ms, item_id="tea-1")
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(
        f"{url}/v1/events", content=encode_event(event), headers=headers, timeout=PATIENCE_S
    )
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("console", [False, True])
def test_the_api_writes_events_and_else_only_reads(
    settings: Settings,
    kafka: ApacheKafka,
    audit: Audit,
    tmp_path: Path,
    free_port: int,
    console: bool,
) -> None:
    settings = settings.model_copy(update={"console": console, "api_port": free_port})
    create_topics(settings)
    permit(settings, kafka, "worker", "api")
    with running_shop(settings, tmp_path / "shop", workers=0) as shop:
        shop.settings = in_role(settings, kafka, "worker")
        shop.start_workers(1)
        shop.list_for(shop.send_click("ana", "tea-1"))
        with serving(in_role(settings, kafka, "api"), tmp_path / "api.log") as url:
            send_click(url)
            list_url, user_url = f"{url}/v1/users/ana/recommendations", f"{url}/v1/users/bo"
            assert httpx.get(list_url, timeout=PATIENCE_S).status_code == 200
            assert httpx.delete(user_url, timeout=PATIENCE_S).status_code == 202
            if console:
                look_at_console(url, shop)
    assert audit.refused("api") == {}
    assert audit.used("api") == set(bindings(settings, "api"))


async def test_each_right_that_is_missing_is_named_alone(
    settings: Settings, kafka: ApacheKafka
) -> None:
    settings = settings.model_copy(update={"console": True})
    create_topics(settings)
    for role in ROLES:
        permit(settings, kafka, role)
        limited = in_role(settings, kafka, role)
        await require_rights(limited, role)
        for binding in bindings(settings, role):
            take_away(kafka.bootstrap, role, [binding])
            with pytest.raises(RightsError) as caught:
                await require_rights(limited, role)
            # Of a topic that may not be described Kafka tells no other right either.
            alone = "" if binding.operation == "Describe" else "; missing: "
            assert f"{alone}{binding}" in str(caught.value)
            assert alone == "" or f"{binding}; " in str(caught.value)
            permit(settings, kafka, role)
        await require_rights(limited, role)


@pytest.mark.parametrize(
    ("role", "missing"),
    [
        ("worker", ("group", "group", "Read")),
        ("worker", ("topic", "catalog_topic", "Read")),
        ("worker", ("topic", "dlq_topic", "Write")),
        ("api", ("topic", "events_topic", "Write")),
    ],
    ids=["group", "catalogue", "dead letters", "events"],
)
def test_a_process_that_lacks_a_right_ends_with_one_sentence(
    settings: Settings, kafka: ApacheKafka, role: Role, missing: tuple[Any, str, Any]
) -> None:
    create_topics(settings)
    permit(settings, kafka, role)
    tiny_bundle(settings.bundle, ["tea-1"])
    resource, of, operation = missing
    binding = Binding(resource, getattr(settings, of), operation)
    take_away(kafka.bootstrap, role, [binding])
    run = ended(in_role(settings, kafka, role), role)
    assert run.returncode == 2
    said = run.stdout + run.stderr
    assert said.count(str(binding)) == 1
    assert f"{ADVICE} --role {role}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("role", "verb"),
    [
        ("worker", ["forget", "ana"]),
        ("worker", ["ingest", "items.jsonl"]),
        ("worker", ["dlq", "list"]),
        ("worker", ["dlq", "redrive", "--all"]),
        ("worker", ["replay", "files", "events.jsonl"]),
        ("api", ["forget", "ana", "--wait"]),
        ("api", ["ingest", "items.jsonl"]),
        ("api", ["dlq", "list"]),
        ("api", ["replay", "topic", "{events}"]),
        ("api", ["replay", "topic", "{events}", "--into", "shadow"]),
        ("operator", ["replay", "topic", "elsewhere"]),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else each,
)
def test_a_verb_of_another_role_ends_with_one_sentence(
    settings: Settings,
    kafka: ApacheKafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    role: Role,
    verb: list[str],
) -> None:
    topics = [settings.events_topic, settings.dlq_topic, "elsewhere"]
    create_topics(settings)
    create_topics(settings.model_copy(update={"events_topic": "elsewhere"}))
    for topic in topics:
        asyncio.run(write(kafka.bootstrap, topic, {0: [b"{"]}))
    permit(settings, kafka, role)
    tiny_bundle(settings.bundle, ["tea-1"])
    act_in_role(monkeypatch, in_role(settings, kafka, role), tmp_path)
    event = Click(event_id="a", user_id="ana", ts=1_700_000_000_000, item_id="tea-1")
    Path("items.jsonl").write_bytes(encode_item(ITEMS[0]))
    Path("events.jsonl").write_bytes(encode_event(event))
    words = [each.format(events=settings.events_topic) for each in verb]
    status, _, told = typed(monkeypatch, capsys, *words)
    assert status == 2, told
    assert told.count(ADVICE) == 1


def test_topics_that_are_missing_take_an_operator(
    settings: Settings,
    kafka: ApacheKafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    permit(settings, kafka, "worker")
    act_in_role(monkeypatch, in_role(settings, kafka, "worker"), tmp_path)
    status, _, told = typed(monkeypatch, capsys, "topics")
    assert status == 2
    assert "does not let this user make the topic" in told
    assert f"{ADVICE} --role operator" in told
    create_topics(settings)
    # They are there now; how they are configured is the operator's to see.
    status, told, _ = typed(monkeypatch, capsys, "topics")
    assert status == 1
    assert told.count(f"{ADVICE} --role operator") == 4
    assert "missing" not in told


def test_check_tells_a_stranger_what_a_worker_needs(
    settings: Settings, kafka: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topics(settings)
    act_in_role(monkeypatch, in_role(settings, kafka, "worker"), tmp_path)
    findings = json.loads(ran("check", "--json", status=1))["findings"]
    told = {each["name"]: each for each in findings}
    assert told["kafka rights"]["state"] == "wrong"
    for binding in bindings(settings):
        assert str(binding) in told["kafka rights"]["text"]
    assert ADVICE in told[f"topic {settings.catalog_topic}"]["text"]


def advice(shop: Shop) -> list[str]:
    """What the worker has told of rights."""
    return [line for line in shop.workers[0].log.read_text().splitlines() if ADVICE in line]


def lose(shop: Shop, kafka: ApacheKafka, binding: Binding) -> None:
    """Take a right away and have the worker feel it, which tells of it."""
    before = len(advice(shop))
    take_away(kafka.bootstrap, "worker", [binding])
    if binding.name == shop.settings.dlq_topic:
        shop.send_bytes(b"{", b"ana")
    shop.send_click("ana", "tea-2")
    shop.wait_for(lambda: advice(shop)[before:] or None, f"the worker tells of {binding}")


def test_a_right_that_is_taken_from_a_running_worker_is_told_and_stops_nothing_for_good(
    settings: Settings, kafka: ApacheKafka, tmp_path: Path
) -> None:
    """Without records a worker ends, and what starts it again is told all that is missing."""
    create_topics(settings)
    permit(settings, kafka, "worker")
    ending = {settings.group, *settings.source_topics}
    with running_shop(settings, tmp_path / "shop", workers=0) as shop:
        shop.settings = in_role(settings, kafka, "worker")
        shop.start_workers(1)
        [worker] = shop.workers
        shop.list_for(shop.send_click("ana", "tea-1"))
        for binding in bindings(settings):
            lose(shop, kafka, binding)
            if binding.name in ending:
                wait_until(lambda: worker.exit_status is not None, "the worker ends")
                assert worker.stop() == 1
            permit(settings, kafka, "worker")
            if binding.name in ending:
                worker.start()
                worker.wait_ready()
            shop.list_for(shop.send_click("ana", "tea-3"))
