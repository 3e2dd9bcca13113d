"""deploy/ without a Docker engine: the schema, the settings, the ports, the Dockerfile."""

import copy
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.cli import app
from stream.settings import Settings, SettingsError
from stream.settings_sources import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
GIVEN = {"NEXTCLICK_REDIS_PASSWORD": "a1b2", "BUNDLE": "/srv/bundle"}
"""What a person puts into deploy/.env."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}")


class ComposeLoader(yaml.SafeLoader):
    """YAML with ``!reset``, by which one compose file takes away what another has set."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: [])


def load_compose(name: str) -> dict[str, Any]:
    """A compose file, aliases and merges resolved, variables not."""
    document = yaml.load((DEPLOY / name).read_text(encoding="utf-8"), ComposeLoader)
    assert isinstance(document, dict)
    return document


def fits_schema(document: dict[str, Any], folder: Path) -> tuple[bool, str]:
    """Whether the Compose Specification's schema accepts it, and what the checker says."""
    path = folder / "compose.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema"]
    done = subprocess.run(
        [*command, "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def interpolate(text: str, given: dict[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` as Compose replaces them."""

    def value(match: re.Match[str]) -> str:
        if match["name"] in given:
            return given[match["name"]]
        assert match["default"] is not None, f"{match[0]} has no value"
        return match["default"]

    return _VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_compose("compose.yaml")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cpu.yaml"])
def test_compose_file_fits_the_schema(name: str, tmp_path: Path) -> None:
    fits, output = fits_schema(load_compose(name), tmp_path)
    assert fits, output


def test_the_schema_refuses_a_misspelt_key(compose: dict[str, Any], tmp_path: Path) -> None:
    broken = copy.deepcopy(compose)
    broken["services"]["worker"]["depend_on"] = broken["services"]["worker"].pop("depends_on")
    fits, output = fits_schema(broken, tmp_path)
    assert not fits
    assert "depend_on" in output


def test_what_services_name_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
        assert set(service.get("networks", [])) <= compose["networks"].keys(), name
        assert {item["source"] for item in service.get("configs", [])} <= compose["configs"].keys()
        named = {item.split(":")[0] for item in service.get("volumes", []) if isinstance(item, str)}
        assert named <= compose["volumes"].keys(), name


def test_each_condition_can_come_true(compose: dict[str, Any]) -> None:
    services = compose["services"]
    conditions = [
        (on, how["condition"])
        for service in services.values()
        for on, how in service.get("depends_on", {}).items()
    ]
    assert conditions
    for on, condition in conditions:
        if condition == "service_healthy":
            assert "healthcheck" in services[on], on
        else:
            assert condition == "service_completed_successfully"
            assert services[on]["restart"] == "no", on


def test_ports_are_bound_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 2
    for port in ports:
        assert port.startswith("127.0.0.1:"), port
    assert not any(service.get("network_mode") for service in compose["services"].values())


def test_two_workers_and_their_command(compose: dict[str, Any]) -> None:
    assert compose["services"]["worker"]["deploy"]["replicas"] == 2
    assert compose["services"]["worker"]["command"] == ["worker"]
    assert compose["services"]["topics"]["command"] == ["topics"]
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {"worker", "topics"} <= verbs


def test_the_redis_password_comes_from_the_environment(compose: dict[str, Any]) -> None:
    needed = re.compile(r"^\$\{NEXTCLICK_REDIS_PASSWORD:\?")
    services = compose["services"]
    assert needed.match(services["redis"]["environment"]["REDISCLI_AUTH"])
    assert needed.match(services["worker"]["environment"]["NEXTCLICK_REDIS_PASSWORD"])
    lines = compose["configs"]["redis"]["content"].splitlines()
    assert "requirepass ${NEXTCLICK_REDIS_PASSWORD}" in lines
    assert "appendonly yes" in lines


FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_of_ours_is_a_setting(path: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {CONFIG_VARIABLE, SECRETS_VARIABLE}
    found = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]", path.read_text(encoding="utf-8")))
    assert found <= known


def apply_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a container with this environment has."""
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    for name, value in environment.items():
        monkeypatch.setenv(name, interpolate(value, GIVEN))
    return Settings()


@pytest.mark.parametrize("service", ["topics", "worker"])
def test_containers_have_possible_settings(
    service: str, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = apply_environment(compose["services"][service]["environment"], monkeypatch)
    assert settings.broker_list == ["kafka:9092"]
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == "a1b2"
    if service == "worker":
        assert settings.provider == "cuda"
        [bundle] = compose["services"]["worker"]["volumes"]
        assert str(settings.bundle) == bundle["target"]


def test_a_misspelt_variable_would_be_found(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compose["services"]["worker"]["environment"] | {"NEXTCLICK_BROKER": "kafka:9092"}
    with pytest.raises(SettingsError, match="NEXTCLICK_BROKER is no setting"):
        apply_environment(environment, monkeypatch)


def test_the_cpu_file_asks_for_the_cpu_and_takes_the_gpu_away(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = compose["services"]["worker"]["deploy"]["resources"]["reservations"]
    assert reserved["devices"]
    over = load_compose("compose.cpu.yaml")["services"]["worker"]
    assert over["deploy"]["resources"]["reservations"] == {"devices": []}
    environment = compose["services"]["worker"]["environment"] | over["environment"]
    assert apply_environment(environment, monkeypatch).provider == "cpu"


def test_the_image_copies_what_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]
    needed = {f"{package.partition('.')[0]}/" for package in packages}
    needed |= {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    needed |= set(project["project"]["license-files"])
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        copied.update(sources)
    assert copied == needed
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert set(re.findall(r"^!(.+)$", ignored, re.MULTILINE)) == needed
    for source in copied - {"README.md"}:
        assert (ROOT / source).exists(), source


def test_the_image_installs_the_worker_only_and_pinned() -> None:
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs
    assert all("-c constraints.txt" in line for line in installs)
    assert installs[-1].endswith(" .")
    assert "[" not in "".join(installs)


def test_the_image_runs_as_a_user_of_its_own() -> None:
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["nextclick"]
    assert DOCKERFILE.index("USER nextclick") < DOCKERFILE.index("ENTRYPOINT")
    assert 'ENTRYPOINT ["nextclick"]\nCMD ["worker"]' in DOCKERFILE


def test_the_image_has_the_cuda_that_onnxruntime_wants() -> None:
    try:
        wanted = requires("onnxruntime-gpu") or []
    except PackageNotFoundError:
        pytest.skip("onnxruntime-gpu is not installed on this kind of machine")
    majors = {
        match[1]
        for line in wanted
        if (match := re.match(r"nvidia-cuda-runtime\D*~=(\d+)\.", line)) is not None
    }
    base = re.search(r"^ARG BASE=nvidia/cuda:(\d+)\.\S*-cudnn-runtime-", DOCKERFILE, re.MULTILINE)
    assert base is not None
    assert majors == {base[1]}
