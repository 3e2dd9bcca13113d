"""All settings, in one frozen object: the only reader of the environment in this project.

Sources, the first that knows a setting wins: arguments of ``Settings(...)``, environment
variables ``NEXTCLICK_*``, files of secrets in the folder that ``NEXTCLICK_SECRETS_DIR`` names, a
TOML file (the one ``NEXTCLICK_CONFIG`` names, none where that is empty, else ./nextclick.toml if
there is one), defaults. A key that no setting has stops the start: a typing error must not turn
into a default (``stream.settings_sources``).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from stream.api_settings import ApiSettings
from stream.kafka_settings import KafkaSettings
from stream.redis_settings import RedisSettings
from stream.settings_rules import (
    check_api,
    check_attribution,
    check_brokers,
    check_bundle_key,
    check_inputs,
    check_kafka_security,
    check_nearest,
    check_pseudonyms,
    check_quotas,
    check_redis,
    check_topics,
)
from stream.settings_sources import (
    CONFIG_VARIABLE,
    PREFIX,
    SECRETS_VARIABLE,
    file_sources,
    refuse_unknown_variables,
)
from stream.trace_settings import TraceSettings

Provider: TypeAlias = Literal["cuda", "cpu"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
NearestBy: TypeAlias = Literal["auto", "exact", "index"]
Explain: TypeAlias = Literal["off", "cheap", "leave_one_out"]


class SettingsError(ValueError):
    """A setting is unknown, wrong or impossible beside another; the message says what to do."""


class Settings(TraceSettings, ApiSettings, RedisSettings, KafkaSettings):
    """Every setting of nextclick. Raises SettingsError where they make no sense."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    cached_profiles: int = Field(
        32_768,
        ge=0,
        le=1_000_000,
        description="Profiles that a worker holds in memory, about 6 KB each, so that the next "
        "event of the user need not fetch it.",
    )
    user_hash_secret: SecretStr | None = Field(
        None,
        description="Keys the hash that stands for a user id in Redis; with another one all "
        "profiles are strangers.",
    )
    pseudonymise: bool = Field(
        False,
        description="Redis and logs hold that hash and no user id, in last lists and at DEBUG too; "
        "needs `user_hash_secret` (docs/security.md).",
    )
    profile_ttl_days: PositiveInt = Field(
        30,
        description="An untouched profile is dropped after that; at least the events' retention.",
    )
    list_ttl_hours: PositiveInt = Field(
        72, description="How long the last list of a user can be looked up in Redis."
    )

    attribution_hours: int | None = Field(
        None,
        ge=0,
        le=8_760,
        description="How long after a list what its user does may be due to it; lists have to be "
        "kept as long. By default 24, or `list_ttl_hours` where that is less; 0 joins no "
        "impressions and clicks to lists.",
    )

    bundle: Path = Field(Path(".nextclick/bundle"), description="Folder of the model bundle.")
    bundle_public_key: Path | None = Field(
        None,
        description="PEM file of an Ed25519 public key: only a bundle that was signed by the "
        "private one is served (`nextclick sign-bundle`).",
    )
    provider: Provider = Field(
        "cuda", description="ONNX Runtime's execution provider; `cpu` must be asked for."
    )
    precision: Precision = Field(
        "fp32",
        description="Which of the bundle's graphs is run: `fp16` and `int8` are there where "
        "training has made and admitted them.",
    )
    nearest: NearestBy = Field(
        "auto",
        description="How the items nearest to a user are found: `exact` scores all, `index` "
        "searches the bundle's index (on the CPU, in fp32), `auto` does so where there is one.",
    )
    source_quotas: str = Field(
        "",
        description="Candidates per list from some sources, such as `new=1,in_country=50`, instead "
        "of those of the bundle's manifest (`model/quotas.py` lists them); 0 turns one off.",
    )
    threads: PositiveInt = Field(
        1, description="Threads of one ONNX Runtime run; more workers scale better than threads."
    )
    spinning: bool = Field(
        False,
        description="Threads of ONNX Runtime that wait for the next run keep their cores: quicker "
        "where several work on one run and nobody else needs them.",
    )
    cuda_graphs: bool = Field(
        False,
        description="On CUDA, record a run of each shape and start it as one; refused where a part "
        "of the graph would run on the CPU.",
    )
    short_windows: bool = Field(
        True,
        description="Run users with short histories without the padding of the longest; scores are "
        "the same but for the rounding.",
    )
    warm_up_s: float = Field(
        20,
        ge=0,
        le=600,
        description="How long shapes of runs are tried before the first event, so that none pays "
        "for the first run of a shape.",
    )
    model_timeout_s: float = Field(
        30,
        gt=0,
        le=600,
        description="A run of the model fails after that: it takes milliseconds, the first ones of "
        "a cold GPU seconds.",
    )
    rules: Path | None = Field(
        None,
        description="TOML or YAML file of what lists must hold and must not (docs/rules.md); it is "
        "read again when it changes.",
    )
    diversity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How much the items of a list are to differ from each other, from 0 (not at "
        "all, and free) to 1, instead of what the bundle's manifest says.",
    )
    text_encoder: str = Field(
        "static",
        min_length=1,
        description="What finds items by meaning, beside their words: `off`, `static` (letters; no "
        "download), or with the extra `text` `wordllama`, `minilm` (English; its tokenizer comes "
        "apart, docs/search.md) or `e5` (Chinese and a hundred others), or a "
        "sentence-transformers folder with model.onnx.",
    )
    text_cache: Path = Field(
        Path(".nextclick/text-vectors"),
        description="Folder for what a text encoder made of items' texts; workers share it.",
    )
    list_length: int = Field(10, ge=1, le=100, description="Items on a list.")
    explain: Explain = Field(
        "cheap",
        description="Which of the user's items each item of a list names as what contributed most: "
        "none (`off`), those that shared counts and purchases know of (`cheap`), or what the score "
        "really loses without each of the newest 8, the network's part included "
        "(`leave_one_out`: candidates and network for nine profiles a list, at ten times the cost "
        "of both).",
    )
    reason_languages: str = Field(
        "en",
        pattern=r"^(en|zh)(,(en|zh))*$",
        description="Languages of the sentences in lists, comma separated, the one of `reason` "
        "first; two or more also stand in `reasons`.",
    )
    max_batch: int = Field(
        256, ge=1, le=10_000, description="Events in a micro-batch at most: memory and latency."
    )
    max_event_age_s: PositiveInt = Field(
        3_600, description="An event older than that updates its profile and publishes no list."
    )
    publish_replayed: bool = Field(
        False, description="Publish lists for replayed and old events too."
    )
    count_shards: int = Field(
        16, ge=1, le=1_024, description="Hash slots over which shared counts are spread."
    )

    metrics_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port of a worker's `/metrics`, `/live` and `/ready`; 0 serves none of them.",
    )
    metrics_bind: str = Field(
        "127.0.0.1", description="Address these are served on: this machine only."
    )
    stall_s: float = Field(
        150,
        ge=1,
        le=3_600,
        description="A worker is not live when its event loop has not run, or records wait and "
        "nothing has moved, for so long: more than the 120 s that a micro-batch may take.",
    )
    exit_when_stalled: bool = Field(
        False,
        description="A worker that is not live ends itself with status 75, for whoever starts it "
        "again: Compose, systemd, `nextclick up`. Kubernetes asks `/live` and needs it not.",
    )
    embedded: bool = Field(
        False, description="Kafka is the embedded broker, which makes no topics by request."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severity that is logged; user ids appear at DEBUG only."
    )

    def __init__(self, **values: Any) -> None:
        try:
            refuse_unknown_variables(type(self))
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then files."""
        return init_settings, env_settings, *file_sources(settings_cls)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_brokers(self)
        check_kafka_security(self)
        check_inputs(self)
        check_topics(self)
        check_redis(self)
        check_pseudonyms(self)
        check_bundle_key(self)
        check_nearest(self)
        check_quotas(self)
        check_attribution(self)
        check_api(self)
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Without a password that stands in a URL."""
        for name, value in super().__repr_args__():
            yield name, self.redis_address if name == "redis_url" else value

    @property
    def broker_list(self) -> list[str]:
        """The brokers as ``host:port`` strings."""
        return [broker.strip() for broker in self.brokers.split(",")]


def settings_environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process these settings, passwords included."""
    variables = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            variables[PREFIX + name.upper()] = str(plain)
    return variables


def child_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of a child process that is to run with these settings only."""
    rest = {key: value for key, value in os.environ.items() if not key.upper().startswith(PREFIX)}
    # Empty: files beside the child have no say either.
    nothing_else = {CONFIG_VARIABLE: "", SECRETS_VARIABLE: ""}
    return rest | nothing_else | settings_environment(settings)


def override_environment(overrides: Mapping[str, Any]) -> None:
    """Make ``Settings()`` see ``overrides`` from now on in this process; None leaves one alone."""
    for name, value in overrides.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)


def _sentence(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        name = ".".join(str(step) for step in item["loc"])
        if item["type"] == "extra_forbidden":
            parts.append(
                f"`{name}` is no setting of nextclick; correct its name (docs/settings.md lists "
                "them) or remove it"
            )
        elif item["type"] == "value_error":
            parts.append(item["msg"].removeprefix("Value error, "))
        else:
            what = item["msg"][0].lower() + item["msg"][1:]
            is_secret = "SecretStr" in str(Settings.model_fields[name].annotation)
            given = "" if is_secret else f" is {item['input']!r}"
            parts.append(f"`{name}`{given}: {what}; set {PREFIX}{name.upper()}")
    return "; ".join(parts)
