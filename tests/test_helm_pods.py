"""What the chart's pods may do, what they get, and how they end."""

from pathlib import Path
from typing import Any

import pytest

from stream.api.server import GRACE_S
from stream.settings import Settings
from stream.settings_sources import CONFIG_VARIABLE
from stream.worker_process import STOP_S
from tests.chart_values import ALL, FULL, LEAST, ON_THE_CPU
from tests.helm import of_kind, render

WORKER, API, TOPICS = "shop-nextclick-worker", "shop-nextclick-api", "shop-nextclick-topics"
FORGOTTEN_S = 5
"""Before an API pod stops, every node has to know that it takes no more requests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="module")
def full(folder: Path) -> list[dict[str, Any]]:
    return render(folder, FULL)


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Specs of all pods, by the name of what makes them."""
    makers = of_kind(manifests, "Deployment") | of_kind(manifests, "Job")
    return {name: maker["spec"]["template"]["spec"] for name, maker in makers.items()}


def environment(
    manifests: list[dict[str, Any]], name: str, folder: Path
) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Variables of a pod's container, secrets as "secret" and files made; and which secrets."""
    [container] = pods(manifests)[name]["containers"]
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= of_kind(manifests, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    secrets = set()
    for each in container.get("env", []):
        reference = each.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            secrets.add((reference["name"], reference["key"]))
        variables[each["name"]] = each.get("value", "secret")
    for variable, value in variables.items():
        if value.startswith("/etc/nextclick/"):
            path = folder / value.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            variables[variable] = str(path)
    return variables, secrets


def settings(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a process with these variables has."""
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_no_container_may_do_more_than_it_needs(values: dict[str, Any], folder: Path) -> None:
    for name, pod in pods(render(folder, values)).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        ours = [each for each in pod.get("initContainers", []) if each["name"] == "bundle"]
        for container in [*pod["containers"], *ours]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_every_mount_has_its_volume_and_none_is_for_nothing(
    values: dict[str, Any], folder: Path
) -> None:
    manifests = render(folder, values)
    for name, pod in pods(manifests).items():
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        mounted = {mount["name"] for each in containers for mount in each.get("volumeMounts", [])}
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        assert mounted == volumes.keys(), name
        maps = {v["configMap"]["name"] for v in volumes.values() if "configMap" in v}
        assert maps <= of_kind(manifests, "ConfigMap").keys()


@pytest.mark.parametrize("name", [WORKER, API, TOPICS])
def test_the_settings_of_all_that_is_set_are_possible(
    name: str, full: list[dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, secrets = environment(full, name, folder)
    found = settings(variables, monkeypatch)
    assert secrets == {(each["name"], each["key"]) for each in FULL["secrets"].values()}
    assert found.broker_list == ["kafka-0:9093", "kafka-1:9093"]
    assert (found.kafka_security, found.redis_url) == ("SASL_SSL", "rediss+cluster://redis:6379")
    assert (found.provider, found.partitions, found.publish_replayed) == ("cpu", 64, True)
    assert found.kafka_ca_file is not None
    assert found.kafka_ca_file.name == "kafka_ca_file"
    assert str(found.bundle) == "/bundle/b1"
    if name == API:
        assert (found.api_bind, found.api_port) == ("0.0.0.0", 8080)
        assert found.api_keys is not None
    else:
        assert (found.metrics_bind, found.metrics_port) == ("0.0.0.0", 9108)


def test_numbers_are_written_as_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, _ = environment(render(folder, ON_THE_CPU), WORKER, folder)
    assert variables["NEXTCLICK_EVENTS_MAX_MESSAGE_BYTES"] == "10485880"
    assert settings(variables, monkeypatch).diversity == 0.3


def test_a_gpu_is_asked_for_and_the_cpu_takes_none(folder: Path) -> None:
    [worker] = pods(render(folder, LEAST))[WORKER]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    [worker] = pods(render(folder, ON_THE_CPU))[WORKER]["containers"]
    assert worker["resources"]["limits"].keys() == {"memory"}


def test_pods_end_before_they_are_killed(full: list[dict[str, Any]]) -> None:
    worker, api = pods(full)[WORKER], pods(full)[API]
    assert worker["terminationGracePeriodSeconds"] > STOP_S
    assert worker["containers"][0]["livenessProbe"]["terminationGracePeriodSeconds"] == 10
    assert api["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": FORGOTTEN_S}}
    assert api["terminationGracePeriodSeconds"] > FORGOTTEN_S + GRACE_S


def test_probes_ask_where_there_are_answers(full: list[dict[str, Any]]) -> None:
    wanted = {WORKER: ("/live", "/ready"), API: ("/health/live", "/health/ready")}
    for name, (live, ready) in wanted.items():
        [container] = pods(full)[name]["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe, path in (("startup", live), ("liveness", live), ("readiness", ready)):
            asked = container[f"{probe}Probe"]["httpGet"]
            assert asked["path"] == path
            assert asked["port"] in ports
        start = container["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] == 300


def test_a_folder_that_is_written_is_no_part_of_the_image(full: list[dict[str, Any]]) -> None:
    for name in (WORKER, API):
        mounts = pods(full)[name]["containers"][0]["volumeMounts"]
        writable = {each["mountPath"] for each in mounts if not each.get("readOnly")}
        assert writable == {"/tmp", "/var/lib/nextclick"}


def test_everything_that_selects_finds_its_pods(full: list[dict[str, Any]]) -> None:
    labels = {
        name: maker["spec"]["template"]["metadata"]["labels"].items()
        for name, maker in (of_kind(full, "Deployment") | of_kind(full, "Job")).items()
    }
    for maker in of_kind(full, "Deployment").values():
        wanted = maker["spec"]["selector"]["matchLabels"].items()
        assert [n for n, own in labels.items() if wanted <= own] == [maker["metadata"]["name"]]
    kinds = ("PodDisruptionBudget", "PodMonitor", "NetworkPolicy")
    for kind in kinds:
        for name, each in of_kind(full, kind).items():
            selector = each["spec"].get("selector") or each["spec"]["podSelector"]
            wanted = selector["matchLabels"].items()
            assert [n for n, own in labels.items() if wanted <= own] == [name], kind
    service = of_kind(full, "Service")[API]
    assert service["spec"]["selector"].items() <= labels[API]
    monitor = of_kind(full, "ServiceMonitor")[API]["spec"]["selector"]["matchLabels"]
    assert monitor.items() <= service["metadata"]["labels"].items()


def test_workers_follow_the_lag_of_every_topic_they_read(full: list[dict[str, Any]]) -> None:
    scaler = of_kind(full, "ScaledObject")[WORKER]["spec"]
    asked = [trigger["metadata"] for trigger in scaler["triggers"]]
    assert [each["topic"] for each in asked] == ["events", "clicks", "searches"]
    assert {each["consumerGroup"] for each in asked} == {"nextclick"}
    assert (asked[0]["tls"], asked[0]["sasl"]) == ("enable", "scram_sha512")
    assert scaler["scaleTargetRef"]["name"] == WORKER
    assert scaler["maxReplicaCount"] == 64
    assert "replicas" not in of_kind(full, "Deployment")[WORKER]["spec"]
    login = of_kind(full, "TriggerAuthentication")[WORKER]["spec"]["secretTargetRef"]
    told = {each["parameter"]: (each["name"], each["key"]) for each in login}
    assert told == {
        "username": ("kafka", "user"),
        "password": ("kafka", "password"),
        "ca": ("kafka", "ca.crt"),
    }


def test_only_who_has_to_is_reached(full: list[dict[str, Any]], folder: Path) -> None:
    policies = of_kind(full, "NetworkPolicy")
    [metrics] = policies[WORKER]["spec"]["ingress"]
    assert metrics["from"] == FULL["networkPolicy"]["metricsFrom"]
    [requests] = policies[API]["spec"]["ingress"]
    assert requests["from"] == FULL["networkPolicy"]["apiFrom"]
    for policy in policies.values():
        ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        assert ports == [53, 53, 9093, 6379, 443]
    least = of_kind(render(folder, LEAST), "NetworkPolicy")
    assert least.keys() == {WORKER, TOPICS}
    for policy in (*least.values(), policies[TOPICS]):
        assert policy["spec"]["ingress"] == []


def test_where_the_bundle_comes_from(full: list[dict[str, Any]], folder: Path) -> None:
    [copies] = pods(full)[WORKER]["initContainers"]
    assert copies["command"] == ["cp", "-R", "/bundles/.", "/into/"]
    [fetches] = pods(render(folder, ON_THE_CPU))[WORKER]["initContainers"]
    assert fetches["image"] == "fetcher:1"
    [claim] = [v for v in pods(render(folder, LEAST))[WORKER]["volumes"] if v["name"] == "bundle"]
    assert claim["persistentVolumeClaim"] == {"claimName": "bundles", "readOnly": True}


def test_another_setting_is_another_pod(folder: Path) -> None:
    def annotations(values: dict[str, Any]) -> dict[str, str]:
        deployment = of_kind(render(folder, values), "Deployment")[WORKER]
        found: dict[str, str] = deployment["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations(LEAST) == annotations(LEAST)
    assert annotations(LEAST) != annotations(LEAST | {"settings": {"max_batch": 64}})
    assert annotations(LEAST) == annotations(LEAST | {"worker": {"replicas": 3}})
