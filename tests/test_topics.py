"""Topics: what they are to be, what is said of those that are there, and making the others."""

from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaTimeoutError

from stream import topics
from stream.embedded_broker import EmbeddedBroker
from stream.kafka import TopicError, kafka_python_arguments
from stream.kafka_login import BrokerError
from stream.settings import Settings
from stream.topics import TopicState, check_topics, create_topics, plan_topics
from tests.backends import Broker

NAMES = ["events", "events.dlq", "recommendations", "catalog"]


def test_the_plan_follows_the_settings() -> None:
    settings = Settings(
        partitions=5,
        replication_factor=3,
        min_insync_replicas=2,
        events_retention_hours=24,
        events_max_message_bytes=2_000_000,
        list_ttl_hours=2,
    )
    plans = {plan.name: plan for plan in plan_topics(settings)}
    assert list(plans) == NAMES
    assert {plan.partitions for plan in plans.values()} == {5}
    assert {plan.replication for plan in plans.values()} == {3}
    assert {plan.config["min.insync.replicas"] for plan in plans.values()} == {"2"}
    assert plans["catalog"].config["cleanup.policy"] == "compact"
    assert plans["events"].config["retention.ms"] == str(24 * 3_600_000)
    assert plans["events.dlq"].config["retention.ms"] == str(24 * 3_600_000)
    assert plans["recommendations"].config["retention.ms"] == str(2 * 3_600_000)
    events, dead = (int(plans[name].config["max.message.bytes"]) for name in NAMES[:2])
    assert events == 2_000_000
    assert dead == events + 64 * 1024


def test_further_topics_of_events_need_as_many_partitions_and_no_more() -> None:
    plan = plan_topics(Settings(inputs="clicks=segment"))[-1]
    assert (plan.name, plan.partitions, plan.is_ours) == ("clicks", 16, False)
    with EmbeddedBroker(dict.fromkeys(NAMES, 4) | {"clicks": 3}) as broker:
        settings = Settings(
            brokers=broker.bootstrap, embedded=True, partitions=4, inputs="clicks=segment"
        )
        assert check_topics(settings)[-1] == TopicState(
            "clicks", "differs", ("3 partitions, 4 in the settings",)
        )


def test_topics_of_the_embedded_broker_are_compared() -> None:
    with EmbeddedBroker({"events": 4, "events.dlq": 4, "catalog": 3}) as broker:
        settings = Settings(brokers=broker.bootstrap, embedded=True, partitions=4)
        states = check_topics(settings)
        assert [state.name for state in states] == NAMES
        assert [state.state for state in states] == ["exists", "exists", "missing", "differs"]
        assert states[3].differences == ("3 partitions, 4 in the settings",)


def test_the_embedded_broker_makes_no_topics_by_request() -> None:
    with EmbeddedBroker({"events": 4, "events.dlq": 4}) as broker:
        settings = Settings(brokers=broker.bootstrap, embedded=True, partitions=4)
        with pytest.raises(TopicError, match="has no recommendations, catalog and makes topics"):
            create_topics(settings)
        for name in NAMES[2:]:
            broker.create_topic(name, 4)
        assert create_topics(settings) == [TopicState(name, "exists") for name in NAMES]


def test_an_unreachable_broker_is_told() -> None:
    settings = Settings(brokers="127.0.0.1:1,127.0.0.1:2", kafka_timeout_s=1)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1: .*; 127\.0\.0\.1:2: .*start Kafka"):
        check_topics(settings)


def kafka_settings(bootstrap: str, **values: Any) -> Settings:
    """Topics of a name of their own on a broker that other tests share."""
    names = {f"{name}_topic": f"topics-test-{name}" for name in
             ("events", "dlq", "recommendations", "catalog")}  # fmt: skip
    return Settings(brokers=bootstrap, partitions=2, **names, **values)


@pytest.mark.kafka
def test_missing_topics_are_made_as_planned(broker: Broker) -> None:
    settings = kafka_settings(broker.bootstrap, events_retention_hours=5)
    assert {state.state for state in check_topics(settings)} == {"missing"}
    assert {state.state for state in create_topics(settings)} == {"created"}
    assert {state.state for state in create_topics(settings)} == {"exists"}
    assert {state.state for state in check_topics(settings)} == {"exists"}
    admin = KafkaAdminClient(**kafka_python_arguments(settings))
    try:
        for plan in plan_topics(settings):
            resource = ConfigResource("TOPIC", plan.name, None)
            found = admin.describe_configs([resource], config_filter="all")["topic"][plan.name]
            assert {key: found[key]["value"] for key in plan.config} == plan.config
            (topic,) = admin.describe_topics([plan.name])
            assert len(topic["partitions"]) == 2
    finally:
        admin.close()

    changed = kafka_settings(broker.bootstrap, events_retention_hours=6)
    events, dead, lists, catalog = create_topics(changed)
    assert (events.state, dead.state) == ("differs", "differs")
    assert (lists.state, catalog.state) == ("exists", "exists")
    assert events.differences == ("retention.ms is 18000000, 21600000 in the settings",)
    assert {state.state for state in check_topics(settings)} == {"exists"}, "nothing was altered"


@pytest.mark.kafka
def test_a_further_topic_may_be_kept_as_long_as_others_like(broker: Broker) -> None:
    inputs = "topics-test-clicks=segment"
    made = create_topics(kafka_settings(broker.bootstrap, inputs=inputs, events_retention_hours=5))
    assert made[-1] == TopicState("topics-test-clicks", "created")
    found = check_topics(kafka_settings(broker.bootstrap, inputs=inputs, events_retention_hours=6))
    assert found[-1] == TopicState("topics-test-clicks", "exists")


def test_a_broker_that_goes_while_it_is_asked_is_one_to_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(**arguments: Any) -> None:
        raise KafkaTimeoutError("Unable to bootstrap")

    monkeypatch.setattr(topics, "KafkaAdminClient", ask)
    with (
        EmbeddedBroker({"events": 4}) as broker,
        pytest.raises(BrokerError, match=r"does not answer \(.*Unable to bootstrap\); start it"),
    ):
        check_topics(Settings(brokers=broker.bootstrap))
