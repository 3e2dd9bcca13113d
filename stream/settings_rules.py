"""Which settings are possible beside one another: each rule raises ValueError with a sentence."""

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from stream.settings import Settings

REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster")
LEAST_SECRET_CHARACTERS = 16
_TOPIC = re.compile(r"^[A-Za-z0-9._-]{1,249}$")
_ADDRESS = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^\s:,/\[\]]+):([0-9]{1,5})$")


def check_brokers(settings: "Settings") -> None:
    """Each broker is host:port."""
    for broker in settings.broker_list:
        if not _is_address(broker):
            raise ValueError(
                f"`brokers` holds {broker!r}; write host:port, several with commas between"
            )


def _is_address(text: str) -> bool:
    match = _ADDRESS.match(text)
    return match is not None and 0 < int(match[2]) < 65_536


def check_kafka_security(settings: "Settings") -> None:
    """Login and TLS files fit the security protocol."""
    security = settings.kafka_security
    _check_kafka_login(settings)
    for name in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file"):
        if getattr(settings, name) is not None and not settings.kafka_has_tls:
            raise ValueError(
                f"`{name}` is set, but `kafka_security` {security} has no TLS; set it to SSL or "
                "SASL_SSL"
            )
        _check_file(settings, name)
    _check_pair(settings, "kafka_cert_file", "kafka_key_file")


def _check_file(settings: "Settings", name: str) -> None:
    path = getattr(settings, name)
    if path is not None and not path.is_file():
        raise ValueError(f"`{name}` names {path}, which is not a file; correct the path")


def _check_pair(settings: "Settings", one: str, other: str) -> None:
    if (getattr(settings, one) is None) != (getattr(settings, other) is None):
        raise ValueError(f"`{one}` and `{other}` go together; set both or neither")


def _check_kafka_login(settings: "Settings") -> None:
    security = settings.kafka_security
    logs_in, by_token = settings.kafka_logs_in, settings.kafka_logs_in_by_token
    login = settings.kafka_username is not None, settings.kafka_password is not None
    tokens = settings.kafka_token_file is not None, settings.kafka_token_url is not None
    if not logs_in and any(login):
        raise ValueError(
            f"`kafka_username` or `kafka_password` is set, but `kafka_security` {security} does "
            "not log in; set it to SASL_SSL"
        )
    if not by_token and (any(tokens) or settings.kafka_token_scope is not None):
        raise ValueError(
            "`kafka_token_file`, `kafka_token_url` or `kafka_token_scope` is set, and nobody logs "
            "in by a token; set `kafka_security` to SASL_SSL and `kafka_sasl_mechanism` to "
            "OAUTHBEARER"
        )
    if not logs_in:
        return
    if by_token and sum(tokens) != 1:
        raise ValueError(
            "OAUTHBEARER needs a token; set one of `kafka_token_file` and `kafka_token_url`"
        )
    if tokens[0]:
        if any(login) or settings.kafka_token_scope is not None:
            raise ValueError(
                "`kafka_token_file` holds all that logs in; unset `kafka_username`, "
                "`kafka_password` and `kafka_token_scope`"
            )
        return
    if not all(login):
        what = " with `kafka_token_url`" if by_token else f" {security}"
        raise ValueError(
            f"`kafka_security`{what} needs `kafka_username` and `kafka_password`; set both"
        )
    if by_token and not _is_safe_url(settings.kafka_token_url or ""):
        raise ValueError(
            "`kafka_token_url` has to begin with https://, for the client secret goes there; "
            "http:// is for this machine"
        )


def _is_safe_url(address: str) -> bool:
    try:
        url = urlsplit(address)
        host = url.hostname
    except ValueError:
        return False
    if not host or url.username is not None:
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(host))


def check_inputs(settings: "Settings") -> None:
    """Each further topic of events has a mapping."""
    for topic, mapping in settings.input_pairs:
        if not (_TOPIC.match(topic) and mapping):
            raise ValueError(
                f"`inputs` holds {f'{topic}={mapping}'!r}; write TOPIC=MAPPING, several with "
                "commas between (docs/mapping.md)"
            )


def check_topics(settings: "Settings") -> None:
    """Topics are distinct and can be written; profiles outlive the events."""
    names = [
        settings.events_topic, *(topic for topic, _ in settings.input_pairs), settings.dlq_topic,
        settings.recommendations_topic, settings.catalog_topic,
    ]  # fmt: skip
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of the topics have one name ({', '.join(names)}); give each its own name"
        )
    if settings.min_insync_replicas > settings.replication_factor:
        raise ValueError(
            f"`min_insync_replicas` {settings.min_insync_replicas} is more than "
            f"`replication_factor` {settings.replication_factor}, so no write would succeed; "
            "lower the one or raise the other"
        )
    if settings.embedded and (
        settings.replication_factor > 1 or settings.kafka_security != "PLAINTEXT"
    ):
        raise ValueError(
            "the embedded broker keeps one copy and speaks PLAINTEXT; unset `embedded`, or "
            "`replication_factor` and `kafka_security`"
        )
    if settings.profile_ttl_days * 24 < settings.events_retention_hours:
        raise ValueError(
            f"`profile_ttl_days` {settings.profile_ttl_days} is shorter than "
            f"`events_retention_hours` {settings.events_retention_hours}, so a replay would bring "
            "back what has expired; raise the one or lower the other"
        )


def check_redis(settings: "Settings") -> None:
    """The URL is one of Redis, and password and TLS file go with it."""
    try:
        url = urlsplit(settings.redis_url)
        valid = url.scheme in REDIS_SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"`redis_url` is not a Redis URL; write one of "
            f"{', '.join(scheme + '://' for scheme in REDIS_SCHEMES)} with host and port"
        )
    if "cluster" in url.scheme and url.path not in ("", "/", "/0"):
        raise ValueError(f"Redis Cluster has only database 0; remove {url.path} from `redis_url`")
    if settings.redis_durability == "none" and settings.redis_replicas:
        raise ValueError(
            "`redis_replicas` is set and `redis_durability` is none, so nothing waits for them; "
            "set `redis_durability` to replica or disk"
        )
    if settings.redis_password is not None and url.password:
        raise ValueError(
            "the Redis password stands in `redis_url` and in `redis_password`; keep one of them"
        )
    if settings.redis_username is not None and url.username:
        raise ValueError(
            "the Redis user stands in `redis_url` and in `redis_username`; keep one of them"
        )
    if settings.redis_username is not None and settings.redis_password is None:
        raise ValueError("`redis_username` goes with `redis_password`; set both")
    _check_redis_files(settings, url.scheme)


def _check_redis_files(settings: "Settings", scheme: str) -> None:
    for name in ("redis_ca_file", "redis_cert_file", "redis_key_file"):
        if getattr(settings, name) is not None and not scheme.startswith("rediss"):
            raise ValueError(f"`{name}` is set, but `redis_url` has no TLS; write rediss://")
        _check_file(settings, name)
    _check_pair(settings, "redis_cert_file", "redis_key_file")


def check_bundle_key(settings: "Settings") -> None:
    """The key of bundles is there."""
    _check_file(settings, "bundle_public_key")


def check_pseudonyms(settings: "Settings") -> None:
    """A hash without a key is no pseudonym: ids can be tried against it."""
    secret = settings.user_hash_secret
    if settings.pseudonymise and (
        secret is None or len(secret.get_secret_value()) < LEAST_SECRET_CHARACTERS
    ):
        raise ValueError(
            f"`pseudonymise` needs a `user_hash_secret` of at least {LEAST_SECRET_CHARACTERS} "
            "characters; make one with `openssl rand -hex 32`, and keep it for good"
        )


def check_api(settings: "Settings") -> None:
    """Whoever is not on this machine needs a key; TLS files go together."""
    if settings.api_keys is None and not is_loopback(settings.api_bind):
        raise ValueError(
            f"`api_bind` {settings.api_bind} is more than this machine, and without `api_keys` "
            "only this machine is served; make a key (nextclick api-key) and name its file, or set "
            "`api_bind` to 127.0.0.1"
        )
    _check_pair(settings, "api_cert_file", "api_cert_key_file")
    for worker in settings.console_worker_list:
        if not _is_address(worker):
            raise ValueError(
                f"`console_workers` holds {worker!r}; write host:port, several with commas between"
            )
    for name in ("api_keys", "api_cert_file", "api_cert_key_file"):
        _check_file(settings, name)


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def check_nearest(settings: "Settings") -> None:
    """An index is searched on the CPU, beside the full graph's numbers."""
    if settings.nearest == "index" and (settings.provider, settings.precision) != ("cpu", "fp32"):
        raise ValueError(
            f"`nearest` is index, which goes with `provider` cpu and `precision` fp32, not with "
            f"{settings.provider} and {settings.precision}; set `nearest` to auto"
        )


def check_attribution(settings: "Settings") -> None:
    """A list is remembered as long as something may be due to it."""
    hours = settings.attribution_hours
    if hours is not None and hours > settings.list_ttl_hours:
        raise ValueError(
            f"`attribution_hours` is {hours}, and lists are kept for "
            f"`list_ttl_hours` {settings.list_ttl_hours}; lower the first or raise the second"
        )


def check_quotas(settings: "Settings") -> None:
    """Each quota is of a source, and a number."""
    if not settings.source_quotas:
        return
    # Here, for it loads numpy, and most commands need none.
    from model.quotas import QuotaError, SourceQuotas, with_changes

    try:
        with_changes(SourceQuotas(), settings.source_quotas)
    except QuotaError as error:
        raise ValueError(f"source_quotas: {error}; correct NEXTCLICK_SOURCE_QUOTAS") from None
