"""The topics: how each is to be, how it is, and making those that are missing.

Further topics of events (`inputs`) belong to others. Where one is missing it is made like the
events topic; of one that is there only the number of partitions matters: as many as the events
topic has, so that a user has the same one in all of them and, where the workers divide it, the same
worker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from stream.kafka import HEADROOM_BYTES, TopicError, kafka_python_arguments
from stream.kafka_login import BrokerError, require_broker
from stream.settings import Settings

HOUR_MS = 3_600_000
MAY_BE_ALLOWED = "`nextclick acl --of kafka --role operator` prints the commands that allow it"
CATALOG_MESSAGE_BYTES = 1_048_588
"""Kafka's default, many times an item: the limit holds for a producer's whole batch."""


class TopicPlan(NamedTuple):
    """How a topic is to be."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]
    is_ours: bool = True
    """Or another's, which may be kept and copied as they like."""


class TopicState(NamedTuple):
    """How a topic is; ``differences`` has a sentence for each thing that is not to plan."""

    name: str
    state: Literal["created", "exists", "differs", "missing"]
    differences: tuple[str, ...] = ()


def plan_topics(settings: Settings) -> list[TopicPlan]:
    """The topics of these settings: events, dead letters, lists, catalogue, further events."""
    durable = {"min.insync.replicas": str(settings.min_insync_replicas)}
    events_hours, lists_hours = settings.events_retention_hours, settings.list_ttl_hours
    configs = {
        settings.events_topic: {
            "cleanup.policy": "delete",
            "retention.ms": str(events_hours * HOUR_MS),
            "max.message.bytes": str(settings.events_max_message_bytes),
        },
        # Dead letters carry what users did: they live no longer than the events themselves.
        settings.dlq_topic: {
            "cleanup.policy": "delete",
            "retention.ms": str(events_hours * HOUR_MS),
            "max.message.bytes": str(settings.events_max_message_bytes + HEADROOM_BYTES),
        },
        settings.recommendations_topic: {
            "cleanup.policy": "delete",
            "retention.ms": str(lists_hours * HOUR_MS),
        },
        settings.catalog_topic: {
            "cleanup.policy": "compact",
            "max.message.bytes": str(CATALOG_MESSAGE_BYTES),
        },
    }
    partitions, replication = settings.partitions, settings.replication_factor
    ours = [
        TopicPlan(name, partitions, replication, config | durable)
        for name, config in configs.items()
    ]
    further = [
        TopicPlan(
            name, partitions, replication, configs[settings.events_topic] | durable, is_ours=False
        )
        for name in settings.input_mappings
    ]
    return ours + further


def create_topics(settings: Settings) -> list[TopicState]:
    """Make the topics that are missing and compare the others; changes none that exists.

    Raises:
        BrokerError: no broker answers.
        TopicError: Kafka refuses, or topics are missing at the embedded broker, which makes them
            only at its own start.
    """
    with admin_client(settings) as admin:
        states = _compare(admin, settings)
        missing = [
            plan
            for plan, state in zip(plan_topics(settings), states, strict=True)
            if state.state == "missing"
        ]
        if missing and settings.embedded:
            names = ", ".join(plan.name for plan in missing)
            raise TopicError(
                f"the embedded broker at {settings.brokers} has no {names} and makes topics only "
                "at its start; start it with `nextclick up` under the same settings"
            )
        created = {plan.name for plan in missing if _create(admin, plan)}
        return [
            TopicState(state.name, "created") if state.name in created else state
            for state in states
        ]


def check_topics(settings: Settings) -> list[TopicState]:
    """Compare the topics with the plan; makes and changes nothing.

    Raises:
        BrokerError: no broker answers.
        TopicError: Kafka refuses.
    """
    with admin_client(settings) as admin:
        return _compare(admin, settings)


@contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    """A client for topics, closed at the end. Raises BrokerError and TopicError with a way on."""
    require_broker(settings)
    admin = None
    try:
        admin = KafkaAdminClient(**kafka_python_arguments(settings))
        yield admin
    except (KafkaConnectionError, KafkaTimeoutError) as error:  # that passes
        raise BrokerError(
            f"Kafka at {settings.brokers} does not answer ({error}); start it, or correct "
            "`brokers` and the security settings"
        ) from None
    except KafkaError as error:
        raise TopicError(
            f"Kafka at {settings.brokers} cannot be asked about topics ({error}); check "
            "`brokers`, the security settings and the rights of this user (`nextclick acl --of "
            "kafka`)"
        ) from None
    finally:
        if admin is not None:
            admin.close()


def _create(admin: KafkaAdminClient, plan: TopicPlan) -> bool:
    """Whether the topic is new; another may have made it a moment ago."""
    options = {
        "num_partitions": plan.partitions,
        "replication_factor": plan.replication,
        "configs": plan.config,
    }
    try:
        admin.create_topics({plan.name: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        return False
    except TopicAuthorizationFailedError:
        raise TopicError(
            f"Kafka does not let this user make the topic `{plan.name}`, which is missing, or not "
            f"for this user to see; {MAY_BE_ALLOWED}"
        ) from None
    return True


def _compare(admin: KafkaAdminClient, settings: Settings) -> list[TopicState]:
    # All topics: asked for one by name, some brokers would make it.
    found = {topic["name"]: topic["partitions"] for topic in admin.describe_topics()}
    states = []
    for plan in plan_topics(settings):
        partitions = found.get(plan.name)
        if not partitions:
            states.append(TopicState(plan.name, "missing"))
            continue
        differences = _layout_differences(plan, partitions)
        if plan.is_ours and not settings.embedded:  # which has no configuration to compare
            differences += _config_differences(admin, plan)
        state: Literal["differs", "exists"] = "differs" if differences else "exists"
        states.append(TopicState(plan.name, state, tuple(differences)))
    return states


def _layout_differences(plan: TopicPlan, partitions: list[dict[str, object]]) -> list[str]:
    differences = []
    if len(partitions) != plan.partitions:
        differences.append(f"{len(partitions)} partitions, {plan.partitions} in the settings")
    if not plan.is_ours:
        return differences
    replicas = partitions[0]["replica_nodes"]
    assert isinstance(replicas, list)
    if len(replicas) != plan.replication:
        differences.append(f"replication {len(replicas)}, {plan.replication} in the settings")
    return differences


def _config_differences(admin: KafkaAdminClient, plan: TopicPlan) -> list[str]:
    resource = ConfigResource("TOPIC", plan.name, list(plan.config))
    answer = admin.describe_configs([resource], config_filter="all")
    actual = answer["topic"][plan.name]
    if not actual:  # kafka-python tells no more of a refusal
        return [f"how it is configured is not for this user to see; {MAY_BE_ALLOWED}"]
    return [
        f"{key} is {actual[key]['value']}, {value} in the settings"
        for key, value in plan.config.items()
        if actual[key]["value"] != value
    ]
