"""What `nextclick check` looks at: Kafka, mappings, Redis, user ids, rules, texts, bundle, GPU."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from stream.redis_client import redis_client
from stream.redis_login import RedisLoginError, log_in_to_redis
from stream.settings import Settings

MIN_REDIS_MAJOR = 7
"""Redis functions, which merge profiles on the server, came with version 7."""


class Finding(NamedTuple):
    """One thing looked at; ``text`` says what is there, or what is wrong and how to mend it."""

    name: str
    state: Literal["ok", "warning", "wrong"]
    text: str


async def check(settings: Settings) -> list[Finding]:
    """Look at all that a worker needs; changes nothing, and what is wrong is no exception."""
    kafka = list(_check_kafka(settings))
    is_reached = kafka[0].state == "ok" and not settings.embedded
    return [
        *kafka,
        *([await _check_rights(settings)] if is_reached else ()),
        *_check_mappings(settings),
        *await _check_redis(settings),
        _check_user_hash(settings),
        *_check_rules(settings),
        _check_text_encoder(settings),
        *_check_model(settings),
    ]


def _check_kafka(settings: Settings) -> Iterator[Finding]:
    from stream.kafka import TopicError, way_to_a_topic
    from stream.kafka_login import BrokerError
    from stream.topics import check_topics

    try:
        topics = check_topics(settings)
    except (BrokerError, TopicError, ValueError) as error:
        yield Finding("kafka", "wrong", str(error))
        return
    yield Finding("kafka", "ok", f"{settings.brokers} answers ({settings.kafka_security})")
    for topic in topics:
        if topic.state == "missing":
            yield Finding(
                f"topic {topic.name}", "wrong", f"does not exist; {way_to_a_topic(settings)}"
            )
        elif topic.state == "differs":
            yield Finding(
                f"topic {topic.name}",
                "warning",
                f"{'; '.join(topic.differences)}: alter the topic or the settings",
            )
        else:
            yield Finding(f"topic {topic.name}", "ok", "as in the settings")


async def _check_rights(settings: Settings) -> Finding:
    from aiokafka.errors import KafkaError

    from stream.acl import Role
    from stream.kafka_acl import bindings
    from stream.kafka_rights import rights_of

    needed = {role: bindings(settings, role) for role in get_args(Role)}
    try:
        rights = await rights_of(settings, list(chain.from_iterable(needed.values())))
    except KafkaError as error:
        return Finding("kafka rights", "warning", f"cannot be asked about ({error}); try again")
    lacking = {role: rights.lack(each) for role, each in needed.items()}
    enough = [role for role, each in lacking.items() if not each]
    if enough:
        return Finding("kafka rights", "ok", f"are enough for the roles: {', '.join(enough)}")
    return Finding(
        "kafka rights",
        "wrong",
        f"are not enough for any role; a worker lacks: {', '.join(map(str, lacking['worker']))}; "
        "`nextclick acl --of kafka` prints the commands that allow it",
    )


def _check_mappings(settings: Settings) -> Iterator[Finding]:
    from model.mapping import MappingError
    from stream.inputs import read_mapping

    for topic, name in settings.input_mappings.items():
        try:
            mapping = read_mapping(topic, name)
        except MappingError as error:
            yield Finding(f"mapping of {topic}", "wrong", str(error))
        else:
            yield Finding(f"mapping of {topic}", "ok", mapping.title or name)


async def _check_redis(settings: Settings) -> list[Finding]:
    client = redis_client(settings)
    try:
        await log_in_to_redis(settings, client)
        # On a cluster every primary must do.
        targets: list[tuple[str, dict[str, Any]]] = [(settings.redis_address, {})]
        if isinstance(client, RedisCluster):
            targets = [(node.name, {"target_nodes": node}) for node in client.get_primaries()]
        findings = []
        for name, target in targets:
            findings.append(_check_server(name, await client.execute_command("INFO", **target)))
            await client.execute_command("FUNCTION STATS", **target)
        return [*findings, Finding("redis functions", "ok", "can be called")]
    except RedisLoginError as error:
        return [Finding("redis", "wrong", str(error))]
    except (RedisError, RedisClusterException, OSError) as error:
        return [
            Finding(
                "redis",
                "wrong",
                f"{settings.redis_address}: {error}; start it, or correct `redis_url`, or "
                "the rights of its user (nextclick acl)",
            )
        ]
    finally:
        await client.aclose()


def _check_server(node: str, info: dict[str, Any]) -> Finding:
    version, policy = str(info["redis_version"]), str(info.get("maxmemory_policy", "noeviction"))
    server = f"{info.get('server_name', 'redis')} {info.get('valkey_version', version)} at {node}"
    if int(version.split(".")[0]) < MIN_REDIS_MAJOR:
        return Finding(
            "redis", "wrong", f"{server} is too old; run version {MIN_REDIS_MAJOR} or later"
        )
    if info.get("maxmemory") and policy != "noeviction":
        return Finding(
            "redis",
            "warning",
            f"{server} may evict profiles (maxmemory-policy {policy}); set it to noeviction",
        )
    return Finding("redis", "ok", server)


def _check_user_hash(settings: Settings) -> Finding:
    if settings.user_hash_secret is None:
        return Finding(
            "user ids",
            "warning",
            "are hashed without a key in Redis, so whoever reads it can try ids; set "
            "NEXTCLICK_USER_HASH_SECRET before the first event (docs/privacy.md)",
        )
    return Finding("user ids", "ok", "are hashed with a key in Redis")


def _check_rules(settings: Settings) -> Iterator[Finding]:
    from serving.rules import RulesError, read_rules

    if settings.rules is None:
        return
    try:
        rules = read_rules(settings.rules)
    except RulesError as error:
        yield Finding("rules", "wrong", str(error))
        return
    yield Finding("rules", "ok", f"{len(rules)} in {settings.rules}")


def _check_text_encoder(settings: Settings) -> Finding:
    from model.text_encoder import TextEncoderError, open_text_encoder

    try:
        encoder = open_text_encoder(settings.text_encoder)
    except TextEncoderError as error:
        return Finding("text encoder", "wrong", str(error))
    told = "off: searches go by words" if encoder is None else f"{encoder.name} can be used"
    return Finding("text encoder", "ok", told)


def _check_model(settings: Settings) -> Iterator[Finding]:
    from model.bundle import BundleError, load_bundle
    from serving.execution import ProviderError
    from serving.ranker import Ranker, RankerError
    from stream.execution import execution_of

    try:
        bundle = load_bundle(settings.bundle, settings.bundle_public_key)
    except BundleError as error:
        yield Finding("bundle", "wrong", str(error))
        return
    manifest = bundle.manifest
    yield Finding("bundle", "ok", f"{manifest.version} in {settings.bundle}")
    try:
        ranker = Ranker(bundle, execution_of(settings))
    except (BundleError, ProviderError, RankerError) as error:
        yield Finding("provider", "wrong", str(error))
        return
    yield Finding("provider", "ok", f"{ranker.provider} in use")
    found_by = "all are scored" if ranker.index is None else "an index is searched"
    yield Finding("nearest items", "ok", found_by)
