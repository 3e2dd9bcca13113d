"""Which rights Kafka gives whoever we log in as, asked before anything is begun.

Kafka's clients tell a right that is missing when it is first used, which may be hours later, and
take a topic that they may not see for one that is not there. So a worker asks at its start and
ends with one sentence that names all that is missing.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    NodeNotReadyError,
    for_code,
)
from aiokafka.protocol.group import HeartbeatRequest
from kafka.errors import TopicAuthorizationFailedError

from stream.acl import Role
from stream.kafka import aiokafka_arguments
from stream.kafka_acl import Binding, Operation, bindings
from stream.offsets import COORDINATOR_PAUSE_S, COORDINATOR_TRIES
from stream.settings import Settings
from stream.topics import admin_client

NAMES: dict[str, Operation] = {
    "CREATE": "Create",
    "DESCRIBE": "Describe",
    "DESCRIBE_CONFIGS": "DescribeConfigs",
    "READ": "Read",
    "WRITE": "Write",
}
"""Of operations, by those of kafka-python."""
NOBODY = -1, ""
"""Generation and member id of a heartbeat."""


class RightsError(RuntimeError):
    """Kafka does not allow what a process needs; the message says what, and what to do."""


class Rights(NamedTuple):
    """What the broker has told."""

    topics: Mapping[str, frozenset[Operation] | None]
    """None: it has not told, as an old one does not, or there is no such topic."""
    group: frozenset[Operation] | None
    """None: it was not asked."""

    def lack(self, needed: Iterable[Binding]) -> list[Binding]:
        """Those of the bindings that are known to be missing."""
        return [each for each in needed if not self._may_have(each)]

    def _may_have(self, binding: Binding) -> bool:
        found = self.group if binding.resource == "group" else self.topics.get(binding.name)
        return found is None or binding.operation in found


async def require_rights(settings: Settings, role: Role) -> None:
    """Return where Kafka allows all that the role needs. The embedded broker allows everything.

    Raises:
        RightsError: it does not.
        BrokerError, TopicError, aiokafka.errors.KafkaError: it does not tell.
    """
    if settings.embedded:
        return
    needed = bindings(settings, role)
    missing = (await rights_of(settings, needed)).lack(needed)
    if missing:
        raise RightsError(
            f"Kafka at {settings.brokers} does not allow {_who(settings)} all that `nextclick "
            f"{role}` needs; missing: {', '.join(map(str, missing))}; `nextclick acl --of kafka "
            f"--role {role}` prints the commands that allow it"
        )


async def rights_of(settings: Settings, needed: Collection[Binding]) -> Rights:
    """What Kafka allows on the resources of these bindings. Raises as `require_rights` does."""
    topics = {each.name for each in needed if each.resource == "topic"}
    of_group = {each.operation for each in needed if each.resource == "group"}
    return Rights(
        await asyncio.to_thread(_of_topics, settings, sorted(topics)),
        await _of_group(settings, joins="Read" in of_group) if of_group else None,
    )


def _who(settings: Settings) -> str:
    if settings.kafka_logs_in and not settings.kafka_logs_in_by_token:
        return f"the user `{settings.kafka_username}`"
    return "this user"


def _of_topics(settings: Settings, topics: list[str]) -> dict[str, frozenset[Operation] | None]:
    with admin_client(settings) as admin:
        return {each["name"]: _told(each) for each in admin.describe_topics(topics)}


def _told(topic: Mapping[str, object]) -> frozenset[Operation] | None:
    if topic["error_code"] == TopicAuthorizationFailedError.errno:
        return frozenset()
    operations = topic.get("authorized_operations")
    if topic["error_code"] or not isinstance(operations, list) or "DESCRIBE" not in operations:
        return None  # we do see it: a broker that does not even say so tells nothing
    return frozenset(NAMES[each] for each in operations if each in NAMES)


async def _of_group(settings: Settings, *, joins: bool) -> frozenset[Operation]:
    """Whoever may describe the group is told its coordinator, whether it has members or not.

    Whether it may be joined is asked by a heartbeat of nobody, which is refused in any case, and
    changes nothing.
    """
    client = AIOKafkaClient(**aiokafka_arguments(settings))
    try:
        await client.bootstrap()
        node = await _coordinator(client, settings.group)
        if not joins:
            return frozenset({"Describe"})
        if not await client.ready(node, group=ConnectionGroup.COORDINATION):
            raise NodeNotReadyError(f"the coordinator of the group `{settings.group}` is away")
        request = HeartbeatRequest(settings.group, *NOBODY)
        answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
        if for_code(answer.error_code) is GroupAuthorizationFailedError:
            return frozenset({"Describe"})
        return frozenset({"Describe", "Read"})
    except GroupAuthorizationFailedError:
        return frozenset()
    finally:
        await client.close()


async def _coordinator(client: AIOKafkaClient, group: str) -> int:
    for _ in range(COORDINATOR_TRIES - 1):
        with suppress(GroupCoordinatorNotAvailableError):
            return await _look_up(client, group)
        await asyncio.sleep(COORDINATOR_PAUSE_S)
    return await _look_up(client, group)


async def _look_up(client: AIOKafkaClient, group: str) -> int:
    return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
