"""`nextclick check --show-config`: every setting, where it comes from, and no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream.settings import Settings, SettingsError
from stream.shown_settings import MASK, shown_settings

SECRETS = ("hunter2-kafka", "hunter2-redis", "hunter2-of-user-ids", "hunter2-in-url")


@pytest.fixture(autouse=True)
def only_these(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a variable nor a file of the machine may reach these tests."""
    for name in [*Settings.model_fields, "config", "secrets_dir"]:
        monkeypatch.delenv(f"NEXTCLICK_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One setting of each origin, secrets among them."""
    monkeypatch.setenv("NEXTCLICK_KAFKA_SECURITY", "SASL_PLAINTEXT")
    monkeypatch.setenv("NEXTCLICK_KAFKA_USERNAME", "shop")
    monkeypatch.setenv("NEXTCLICK_KAFKA_PASSWORD", SECRETS[0])
    monkeypatch.setenv("NEXTCLICK_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("NEXTCLICK_LOG_LEVEL", "DEBUG")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "nextclick_user_hash_secret").write_text(f"{SECRETS[2]}\n")
    (folder / "somebody_else_s").write_text("x")
    monkeypatch.setenv("NEXTCLICK_SECRETS_DIR", str(folder))
    (tmp_path / "nextclick.toml").write_text(
        f'redis_url = "redis://me:{SECRETS[3]}@127.0.0.1:1/0?password={SECRETS[1]}"\nthreads = 3\n'
    )
    return folder


def ran(*words: str, status: int = 0) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "stream.cli", *words],
        capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert run.returncode == status, run.stderr
    return run.stdout + run.stderr


def told() -> dict[str, Any]:
    shown = json.loads(ran("check", "--show-config", "--json"))["settings"]
    return {each["name"]: each for each in shown}


def test_each_setting_tells_where_it_comes_from(secrets: Path, tmp_path: Path) -> None:
    shown = told()
    assert set(shown) == set(Settings.model_fields)
    assert shown["kafka_username"] == {
        "name": "kafka_username", "value": "shop", "origin": "environment",
        "place": "NEXTCLICK_KAFKA_USERNAME",
    }  # fmt: skip
    assert shown["threads"]["value"] == "3"
    assert (shown["threads"]["origin"], shown["threads"]["place"]) == ("file", "nextclick.toml")
    assert (shown["group"]["value"], shown["group"]["origin"]) == ("nextclick", "default")
    secret = shown["user_hash_secret"]
    assert secret["origin"] == "secrets"
    assert secret["place"] == str(secrets / "nextclick_user_hash_secret")
    assert Settings().user_hash_secret is not None
    assert Settings().user_hash_secret.get_secret_value() == SECRETS[2]  # type: ignore[union-attr]


def test_secrets_are_masked(secrets: Path) -> None:
    shown = told()
    assert shown["kafka_password"]["value"] == shown["user_hash_secret"]["value"] == MASK
    assert shown["redis_url"]["value"] == f"redis://{MASK}@127.0.0.1:1/0"
    assert shown["redis_password"]["value"] is None, "what is not set is no secret"


@pytest.mark.parametrize(
    ("words", "status"),
    [(["check", "--show-config"], 0), (["check"], 1), (["topics"], 2), (["replay", "status"], 2)],
)
def test_no_secret_is_printed_or_logged(secrets: Path, words: list[str], status: int) -> None:
    printed = ran(*words, status=status)
    assert printed
    assert not [each for each in SECRETS if each in printed]


def test_settings_can_be_printed_by_anybody(secrets: Path) -> None:
    settings = Settings()
    for printed in (repr(settings), str(settings), settings.redis_address):
        assert not [each for each in SECRETS if each in printed]
    assert repr(shown_settings(settings)).count(MASK) == 3


def test_a_secret_that_is_no_setting_stops_the_start(secrets: Path) -> None:
    (secrets / "nextclick_redis_pasword").write_text("x")
    with pytest.raises(SettingsError, match="nextclick_redis_pasword is no setting"):
        Settings()


def test_a_folder_of_secrets_that_is_not_there_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTCLICK_SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="names /nowhere, which is not a folder"):
        Settings()


def test_a_secret_of_the_wrong_kind_is_not_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(user_hash_secret=[SECRETS[2]])
    assert SECRETS[2] not in str(caught.value)
