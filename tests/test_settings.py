"""Settings: where they come from, which are refused, and what the refusal says."""

import ast
from pathlib import Path

import pytest
from pydantic import SecretStr

from stream.settings import (
    Settings,
    SettingsError,
    child_environment,
    override_environment,
    settings_environment,
)
from stream.settings_page import settings_page

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a variable nor a file of the machine may reach these tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NEXTCLICK_{name.upper()}", raising=False)
    monkeypatch.delenv("NEXTCLICK_CONFIG", raising=False)
    monkeypatch.delenv("NEXTCLICK_SECRETS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(**values: object) -> str:
    """The sentence with which these settings are refused."""
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    return str(caught.value)


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nextclick.toml").write_text('group = "file"\nlist_length = 20\n')
    monkeypatch.setenv("NEXTCLICK_GROUP", "environment")
    settings = Settings()
    assert settings.group == "environment"
    assert settings.list_length == 20
    assert Settings(group="argument").group == "argument"


def test_the_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text("threads = 3\n")
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(tmp_path / "shop.toml"))
    assert Settings().threads == 3


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_CONFIG", "/nowhere.toml")
    assert refusal() == (
        "NEXTCLICK_CONFIG names /nowhere.toml, which is not a file; correct it or unset it"
    )


def test_an_empty_name_means_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nextclick.toml").write_text("threads = 3\n")
    monkeypatch.setenv("NEXTCLICK_CONFIG", "")
    assert Settings().threads == 1


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nextclick.toml").write_text("threads = \n")
    assert "nextclick.toml is not valid TOML" in refusal()


def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nextclick.toml").write_text("thread = 3\n")
    assert "`thread` is no setting of nextclick" in refusal()


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_BROKER", "kafka:9092")
    assert "NEXTCLICK_BROKER is no setting of nextclick; correct its name" in refusal()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_LIST_LENGTH", "")
    assert Settings().list_length == 10


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"threads": 0}, "set NEXTCLICK_THREADS"),
        ({"list_length": "many"}, "`list_length` is 'many'"),
        ({"provider": "tpu"}, "'cuda' or 'cpu'"),
        ({"events_topic": "a b"}, "`events_topic` is 'a b'"),
        ({"brokers": "kafka"}, "`brokers` holds 'kafka'; write host:port"),
        ({"brokers": "kafka:9092,"}, "`brokers` holds ''"),
        ({"brokers": "kafka:99999"}, "`brokers` holds 'kafka:99999'"),
        ({"brokers": "kafka://kafka:9092"}, "write host:port"),
        ({"kafka_security": "SASL_SSL"}, "needs `kafka_username` and `kafka_password`"),
        (
            {"kafka_security": "SASL_SSL", "kafka_username": "u"},
            "needs `kafka_username` and `kafka_password`",
        ),
        ({"kafka_username": "u", "kafka_password": "p"}, "set it to SASL_SSL"),
        ({"kafka_ca_file": "ca.pem"}, "has no TLS"),
        ({"kafka_security": "SSL", "kafka_ca_file": "ca.pem"}, "which is not a file"),
        ({"kafka_security": "SSL", "kafka_cert_file": __file__}, "set both or neither"),
        ({"redis_url": "http://redis"}, "is not a Redis URL"),
        ({"redis_url": "redis://"}, "is not a Redis URL"),
        ({"redis_url": "redis://redis:port"}, "is not a Redis URL"),
        ({"redis_url": "redis+cluster://redis:6379/3"}, "has only database 0"),
        ({"redis_url": "redis://:a@redis", "redis_password": "b"}, "keep one of them"),
        ({"redis_ca_file": __file__}, "has no TLS; write rediss://"),
        ({"redis_url": "rediss://redis", "redis_ca_file": "ca.pem"}, "which is not a file"),
        ({"dlq_topic": "events"}, "give each its own name"),
        ({"min_insync_replicas": 2}, "no write would succeed"),
        ({"embedded": True, "replication_factor": 3}, "the embedded broker keeps one copy"),
        ({"nearest": "index"}, "goes with `provider` cpu and `precision` fp32, not with cuda"),
        (
            {"nearest": "index", "provider": "cpu", "precision": "int8"},
            "not with cpu and int8; set `nearest` to auto",
        ),
        ({"profile_ttl_days": 6}, "a replay would bring back what has expired"),
    ],
)
def test_what_is_wrong_or_impossible_is_refused_with_a_sentence(
    values: dict[str, object], sentence: str
) -> None:
    told = refusal(**values)
    assert sentence in told
    assert "\n" not in told


def test_a_refusal_shows_no_password() -> None:
    told = refusal(kafka_security="PLAINTEXT", kafka_username="u", kafka_password="hunter2")
    assert "hunter2" not in told
    assert "hunter2" not in refusal(redis_url="redis://u:hunter2@")
    assert "123456" not in refusal(redis_password=123456)


def test_passwords_stay_out_of_sight() -> None:
    settings = Settings(
        kafka_security="SASL_PLAINTEXT",
        kafka_username="u",
        kafka_password="hunter2",
        redis_url="redis://u:hunter2@redis:6379/1",
    )
    assert settings.kafka_password == SecretStr("hunter2")
    assert settings.redis_address == "redis://redis:6379/1"
    assert "hunter2" not in repr(settings.kafka_password)


def test_several_brokers() -> None:
    settings = Settings(brokers="a:9092, b:9093,[::1]:9094")
    assert settings.broker_list == ["a:9092", "b:9093", "[::1]:9094"]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().group = "other"


def test_a_child_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(
        group="of-the-parent",
        embedded=True,
        redis_password="secret",
        publish_replayed=True,
        bundle=Path("b"),
        profile_ttl_days=99,
        list_ttl_hours=2,
    )
    (tmp_path / "nextclick.toml").write_text('kafka_username = "somebody"\n')
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_the_environment_of_a_child_holds_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_THREADS", "4")
    given = child_environment(Settings(threads=2))
    assert given["NEXTCLICK_THREADS"] == "2"
    assert settings_environment(Settings(threads=2)).items() <= given.items()


def test_an_override_is_seen_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_PROVIDER", "cuda")  # put back afterwards
    override_environment({"provider": "cpu", "bundle": None})
    assert Settings().provider == "cpu"
    assert Settings().bundle == Path(".nextclick/bundle")


def test_the_table_has_a_line_for_each_setting_and_a_reason_in_it() -> None:
    rows = [row for row in settings_page().splitlines() if row.startswith("| `")]
    assert len(rows) == len(Settings.model_fields)
    for row, (name, field) in zip(rows, Settings.model_fields.items(), strict=True):
        assert f"`NEXTCLICK_{name.upper()}`" in row
        assert field.description and field.description in row


def test_lists_are_kept_as_long_as_something_may_be_due_to_them() -> None:
    assert Settings(list_ttl_hours=2).attribution_hours is None
    assert Settings(list_ttl_hours=2, attribution_hours=2).attribution_hours == 2
    with pytest.raises(SettingsError, match="lower the first or raise the second"):
        Settings(list_ttl_hours=2, attribution_hours=3)


def test_every_setting_is_read_somewhere() -> None:
    """A documented setting that nothing reads is a lie."""
    read: set[str] = set()
    rooms = {"settings.py", "settings_rules.py", "kafka_settings.py", "api_settings.py"}
    for path in (ROOT / "stream").rglob("*.py"):
        if path.name not in rooms:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    read.add(node.attr)
    # Read through a property of the settings.
    read |= {"brokers"} if "broker_list" in read else set()
    read |= {"inputs"} if "input_mappings" in read else set()
    read |= {"console_workers"} if "console_worker_list" in read else set()
    assert set(Settings.model_fields) - read == set()


def test_nothing_else_reads_the_environment() -> None:
    readers = set()
    for floor in ("stream", "serving", "model"):
        for path in (ROOT / floor).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                    readers.add(path.name)
    # The embedded servers hand their own environment on to a child, which is not reading it.
    assert readers <= {"settings.py", "settings_sources.py", "embedded.py"}


def test_further_topics_of_events_have_a_mapping_each() -> None:
    settings = Settings(inputs="clicks=segment, searches=./ubi.toml")
    assert settings.input_mappings == {"clicks": "segment", "searches": "./ubi.toml"}
    assert settings.source_topics == ["events", "clicks", "searches"]
    assert Settings().source_topics == ["events"]
    for wrong in ("clicks", "clicks=", "=segment", "my clicks=segment"):
        with pytest.raises(SettingsError, match="write TOPIC=MAPPING"):
            Settings(inputs=wrong)
    for same in ("events=segment", "catalog=segment", "a=segment,a=taobao"):
        with pytest.raises(SettingsError, match="give each its own name"):
            Settings(inputs=same)
