"""The compose files without a Docker engine: the schema, the settings, the ports."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.api.server import GRACE_S
from stream.cli import app
from stream.settings import Settings, SettingsError
from stream.settings_sources import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE
from stream.worker_process import STOP_S

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
GIVEN = {"NEXTCLICK_REDIS_PASSWORD": "a1b2", "BUNDLE": "/srv/bundle"}
"""What a person puts into deploy/.env."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}")


class ComposeLoader(yaml.SafeLoader):
    """YAML with ``!reset``, by which one compose file takes away what another has set."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: [])


def laid_over(compose: dict[str, Any], name: str) -> dict[str, Any]:
    """A service with what compose.cpu.yaml changes of it: of mappings the keys, else the whole."""

    def merge(below: Any, above: Any) -> Any:
        if not (isinstance(below, dict) and isinstance(above, dict)):
            return above
        return below | {key: merge(below.get(key), value) for key, value in above.items()}

    merged: dict[str, Any] = merge(
        compose["services"][name], load_compose("compose.cpu.yaml")["services"].get(name, {})
    )
    return merged


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
        sources = [
            item.split(":")[0] for item in service.get("volumes", []) if isinstance(item, str)
        ]
        named = {source for source in sources if not source.startswith("./")}
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
        elif condition != "service_started":
            assert condition == "service_completed_successfully"
            assert services[on]["restart"] == "no", on


def test_ports_are_bound_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 5
    for port in ports:
        assert port.startswith("127.0.0.1:"), port
    assert not any(service.get("network_mode") for service in compose["services"].values())


def test_two_workers_and_their_command(compose: dict[str, Any]) -> None:
    assert compose["services"]["worker"]["deploy"]["replicas"] == 2
    assert compose["services"]["worker"]["command"] == ["worker"]
    assert compose["services"]["topics"]["command"] == ["topics"]
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {"worker", "topics", "api"} <= verbs


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


@pytest.mark.parametrize("service", ["topics", "worker", "api"])
def test_containers_have_possible_settings(
    service: str, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = dict(compose["services"][service]["environment"])
    mounts = {
        item["target"]: item
        for item in compose["services"][service].get("volumes", [])
        if isinstance(item, dict)
    }
    if service == "api":
        keys = environment["NEXTCLICK_API_KEYS"]
        assert mounts[keys]["source"] == "${API_KEYS:-./keys}"
        environment["NEXTCLICK_API_KEYS"] = str(tmp_path / "keys")
        (tmp_path / "keys").touch()
    settings = apply_environment(environment, monkeypatch)
    assert settings.broker_list == ["kafka:9092"]
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == "a1b2"
    if service != "topics":
        assert settings.provider == {"worker": "cuda", "api": "cpu"}[service]
        assert mounts[str(settings.bundle)]["source"].startswith("${BUNDLE:?")


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
    worker = laid_over(compose, "worker")
    assert worker["deploy"]["resources"]["reservations"]["devices"] == []
    assert worker["deploy"]["replicas"] == 2
    assert apply_environment(worker["environment"], monkeypatch).provider == "cpu"


def test_the_cpu_file_builds_every_container_of_ours_without_cuda(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if service["image"].startswith("nextclick:"):
            over = laid_over(compose, name)
            assert (over["image"], over["build"]["args"]) == (
                "nextclick:0.1.0-cpu",
                {"VARIANT": "cpu"},
            )
            assert over["build"]["dockerfile"] == "deploy/Dockerfile"


@pytest.mark.parametrize("name", ["topics", "worker", "api"])
def test_a_container_of_ours_writes_only_where_there_is_memory(
    name: str, compose: dict[str, Any]
) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp", "/var/lib/nextclick"]
    assert "uid=10001,gid=10001" in service["tmpfs"][1]
    assert all(item["read_only"] for item in service.get("volumes", []))


def test_containers_are_given_the_time_that_they_take_to_end(compose: dict[str, Any]) -> None:
    def grace(name: str) -> int:
        return int(compose["services"][name]["stop_grace_period"].removesuffix("s"))

    assert grace("worker") >= STOP_S
    assert grace("api") > GRACE_S


def test_prometheus_asks_the_workers_where_they_answer(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    [job] = config["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert job["job_name"] == "nextclick"  # the alerts look for it
    assert found["names"] == ["worker"]
    port = compose["services"]["worker"]["environment"]["NEXTCLICK_METRICS_PORT"]
    assert str(found["port"]) == port
    assert config["rule_files"] == ["alerts.yaml"]
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: Debian's package prometheus has it")
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yaml"],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_dashboard_and_its_source(compose: dict[str, Any]) -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    providers = yaml.safe_load((folder / "dashboards" / "nextclick.yaml").read_text("utf-8"))
    path = providers["providers"][0]["options"]["path"]
    mounts = dict(item.split(":")[:2] for item in compose["services"]["grafana"]["volumes"])
    assert mounts["./grafana/dashboard.json"] == f"{path}/dashboard.json"
    for source in mounts:
        assert (DEPLOY / source).exists(), source
