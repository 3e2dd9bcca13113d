"""What Kafka's authorizer has seen users do, and the ACLs that it goes by."""

import argparse
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from stream.kafka_acl import Binding
from stream.kafka_rights import NAMES
from tests.shop import wait_until

DECISION = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ "
    r"on resource = (\w+):LITERAL:(\S+) for request = (\w+)"
)
BRING_DESCRIBE = {"Read", "Write"}
NUMBERS = {name: ACLOperation[operation] for operation, name in NAMES.items()}


class Audit:
    """The decisions in Kafka's log since this was made, or since `forget`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.forget()

    def forget(self) -> None:
        """Leave out what was decided so far."""
        self._from = self._log.stat().st_size

    def used(self, user: str) -> set[Binding]:
        """What the user needed rights for; to describe only where no other right brings that."""
        used = self._decisions(user, "Allowed").keys()
        described = {each[:2] for each in used if each.operation in BRING_DESCRIBE}
        return {each for each in used if each.operation != "Describe" or each[:2] not in described}

    def refused(self, user: str) -> dict[Binding, set[str]]:
        """What the user was not allowed, and in which requests."""
        return self._decisions(user, "Denied")

    def _decisions(self, user: str, kind: str) -> dict[Binding, set[str]]:
        with self._log.open("rb") as log:
            log.seek(self._from)
            text = log.read().decode()
        found: dict[Binding, set[str]] = {}
        for who, decision, operation, resource, name, request in DECISION.findall(text):
            if (who, decision) == (user, kind):
                found.setdefault(_binding(resource, name, operation), set()).add(request)
        return found


def _binding(resource: str, name: str, operation: str) -> Binding:
    # Another one than those that we know is for a failed assertion to show.
    return Binding(resource.lower(), name, NAMES.get(operation, operation))  # type: ignore[arg-type]


def allow(bootstrap: str, commands: Iterable[str]) -> None:
    """Do what commands of kafka-acls.sh say."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap-server", "--command-config", "--allow-principal"):
        parser.add_argument(name, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    for name in ("--operation", "--topic", "--group"):
        parser.add_argument(name, action="append", default=[])
    acls = []
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "kafka-acls.sh"
        said = parser.parse_args(words)
        for operation in said.operation:
            bindings = [Binding("topic", name, operation) for name in said.topic]
            bindings += [Binding("group", name, operation) for name in said.group]
            acls += [_acl(each, said.allow_principal) for each in bindings]
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        assert not admin.create_acls(acls)["failed"]
        wait_until(lambda: all(_is_there(admin, each) for each in acls), "the ACLs are known")


def take_away(bootstrap: str, user: str, bindings: Iterable[Binding]) -> None:
    """Remove ACLs of a user that are there."""
    acls = [_acl(each, f"User:{user}") for each in bindings]
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        for _, gone, _ in admin.delete_acls(acls):
            assert len(gone) == 1
        wait_until(lambda: not any(_is_there(admin, each) for each in acls), "the ACLs are gone")


def forbid_all(bootstrap: str) -> None:
    """Remove every ACL that there is."""
    any_resource = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    every = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, any_resource)
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_acls([every])
        wait_until(lambda: not _is_there(admin, every), "no ACL is left")


def _acl(binding: Binding, principal: str) -> ACL:
    pattern = ResourcePattern(ResourceType[binding.resource.upper()], binding.name)
    operation = NUMBERS[binding.operation]
    return ACL(principal, "*", operation, ACLPermissionType.ALLOW, pattern)


def _is_there(admin: KafkaAdminClient, acl: ACLFilter) -> bool:
    found, _ = admin.describe_acls(acl)
    return bool(found)
