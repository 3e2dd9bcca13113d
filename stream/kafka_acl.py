"""The rights in Kafka that nextclick needs, and no more: the bindings of its access control lists.

Whoever may read or write a topic or a group may describe it; that right is listed where nothing
else brings it. No right on the cluster is needed. Tests run every verb as these principals, and
fail where a binding is never used.
"""

import shlex
from collections.abc import Iterable
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

from stream.acl import Role
from stream.settings import Settings

Operation: TypeAlias = Literal["Create", "Describe", "DescribeConfigs", "Read", "Write"]
"""As Kafka's own tools name them."""


class Binding(NamedTuple):
    """One operation on one resource, of which it is the whole name."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.operation} on the {self.resource} `{self.name}`"


def bindings(settings: Settings, role: Role = "worker") -> list[Binding]:
    """Those that these settings need, by resource."""
    topics = {"worker": _of_worker, "operator": _of_operator, "api": _of_api}[role](settings)
    found = {Binding("topic", name, each) for name, operations in topics for each in operations}
    group: Operation = "Read" if role == "worker" else "Describe"
    if role != "api" or settings.console:
        found.add(Binding("group", settings.group, group))
    return sorted(found)


_Rights: TypeAlias = Iterable[tuple[str, tuple[Operation, ...]]]


def _of_worker(settings: Settings) -> _Rights:
    yield from ((topic, ("Read",)) for topic in [*settings.source_topics, settings.catalog_topic])
    yield settings.recommendations_topic, ("Write",)
    yield settings.dlq_topic, ("Write",)


def _of_operator(settings: Settings) -> _Rights:
    """`topics` makes topics and `check` looks at them; `ingest` writes the catalogue and reads it
    back; `dlq redrive` sends back to where dead letters came from, and notes it beside them."""
    ours = settings.events_topic, settings.dlq_topic, settings.catalog_topic
    yield from ((topic, ("Create", "DescribeConfigs", "Read", "Write")) for topic in ours)
    yield settings.recommendations_topic, ("Create", "Describe", "DescribeConfigs")
    # They belong to others: how they are configured is not looked at.
    yield from ((topic, ("Create", "Read", "Write")) for topic in settings.input_mappings)


def _of_api(settings: Settings) -> _Rights:
    yield settings.events_topic, ("Write",)
    yield settings.catalog_topic, ("Read",)
    yield from ((topic, ("Describe",)) for topic in settings.input_mappings)
    if settings.console:
        yield settings.recommendations_topic, ("Read",)
        yield settings.dlq_topic, ("Read",)


def acl_commands(settings: Settings, principal: str, role: Role = "worker") -> list[str]:
    """The bindings as commands of Kafka's own tool, each for all resources of the same rights.

    ``admin.properties`` stands for the login of whoever may alter ACLs.
    """
    start = ["kafka-acls.sh", "--bootstrap-server", settings.brokers]
    start += ["--command-config", "admin.properties", "--add", "--allow-principal", principal]
    return [shlex.join([*start, *words]) for words in _alike(bindings(settings, role))]


def _alike(needed: Iterable[Binding]) -> Iterable[list[str]]:
    """The arguments of resources that need the same."""
    by_rights: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (resource, name), each in groupby(needed, lambda binding: binding[:2]):
        rights = resource, tuple(binding.operation for binding in each)
        by_rights.setdefault(rights, []).append(name)
    for (resource, operations), names in by_rights.items():
        yield [
            *(word for each in operations for word in ("--operation", each)),
            *(word for each in names for word in (f"--{resource}", each)),
        ]
