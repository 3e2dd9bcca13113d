"""`nextclick acl --of kafka` prints what these settings need; that it suffices and that all of it
is needed is shown on Kafka, by tests/test_kafka_rights.py."""

import json
import shlex
from typing import get_args

import pytest
from typer.testing import CliRunner

from stream import cli
from stream.acl import Role, acl_line
from stream.kafka_acl import Binding, acl_commands, bindings
from stream.settings import Settings
from tests.command_line import ran

START = [
    "kafka-acls.sh", "--bootstrap-server", "127.0.0.1:9092", "--command-config",
    "admin.properties", "--add", "--allow-principal",
]  # fmt: skip


def test_the_verb_prints_the_commands_and_for_machines_the_bindings() -> None:
    lines = ran("acl", "--of", "kafka", "--user", "shop").splitlines()
    assert lines == acl_commands(Settings(), "User:shop")
    assert [shlex.split(line) for line in lines] == [
        [*START, "User:shop", "--operation", "Read", "--group", "nextclick"],
        [*START, "User:shop", "--operation", "Read", "--topic", "catalog", "--topic", "events"],
        [
            *[*START, "User:shop", "--operation", "Write"],
            *["--topic", "events.dlq", "--topic", "recommendations"],
        ],
    ]
    told = json.loads(ran("acl", "--of", "kafka", "--json"))
    assert told["principal"] == "User:nextclick"
    assert told["lines"] == acl_commands(Settings(), "User:nextclick")
    assert told["bindings"][0] == {
        "resource": "group", "name": "nextclick", "operation": "Read", "pattern": "literal",
    }  # fmt: skip
    assert len(told["bindings"]) == len(bindings(Settings()))


def test_a_principal_is_quoted_and_has_a_type() -> None:
    name = "User:CN=worker,O=my shop"
    (line, *_) = ran("acl", "--of", "kafka", "--principal", name).splitlines()
    assert shlex.split(line)[6:8] == ["--allow-principal", name]
    for words in (["--of", "kafka", "--principal", "worker"], ["--principal", "User:worker"]):
        assert CliRunner().invoke(cli.app, ["acl", *words]).exit_code == 2


@pytest.mark.parametrize("role", get_args(Role))
def test_further_topics_of_events_are_among_them(role: Role) -> None:
    """Each role does with them what it does with events, and no more; they belong to others."""
    without = set(bindings(Settings(), role))
    inputs = "clicks=segment,searches=segment"
    added = set(bindings(Settings(inputs=inputs), role)) - without
    of_events = {each.operation for each in without if each.name == "events"}
    expected = {"Describe"} if role == "api" else of_events - {"DescribeConfigs"}
    for topic in ("clicks", "searches"):
        assert {each.operation for each in added if each.name == topic} == expected
    assert {each.name for each in added} == {"clicks", "searches"}


def test_the_console_reads_more_than_the_api() -> None:
    api, console = (set(bindings(Settings(console=each), "api")) for each in (False, True))
    assert api < console
    assert console - api == {
        Binding("topic", "recommendations", "Read"),
        Binding("topic", "events.dlq", "Read"),
        Binding("group", "nextclick", "Describe"),
    }


def test_only_an_operator_may_change_what_workers_read() -> None:
    for role in ("worker", "api"):
        held = {each[1:] for each in bindings(Settings(console=True), role)}
        assert ("catalog", "Write") not in held
        assert not {operation for _, operation in held} & {"Create", "DescribeConfigs"}
    assert ("events", "Write") not in {each[1:] for each in bindings(Settings(), "worker")}


def test_in_redis_an_operator_may_do_what_a_worker_does() -> None:
    assert ran("acl", "--role", "operator").strip() == acl_line(Settings(), "nextclick")
