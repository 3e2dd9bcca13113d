"""The Helm chart renders, is clean and fits Kubernetes' schemas; impossible values are refused."""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as SpecError

from stream.chart_schema import OF_THE_CHART
from stream.settings import Settings
from tests.chart_values import ALL, FULL, LEAST, ON_THE_CPU
from tests.crd_schemas import SPECS
from tests.helm import CHART, KUBERNETES, ROOT, RefusedValues, of_kind, render, run_helm


def check(manifest: dict[str, Any]) -> None:
    """Raise where a manifest does not fit the schema of its kind, or nobody knows the kind."""
    spec = SPECS.get((manifest["apiVersion"], manifest["kind"]))
    if spec is None:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    else:
        Draft202012Validator(spec).validate(manifest["spec"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="module")
def full(folder: Path) -> list[dict[str, Any]]:
    return render(folder, FULL)


@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_the_chart_is_clean(values: dict[str, Any], folder: Path) -> None:
    path = folder / "lint.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = run_helm(
        folder, "lint", "--strict", "--kube-version", KUBERNETES, CHART, "--values", path
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_every_manifest_fits_the_schema_of_its_kind(values: dict[str, Any], folder: Path) -> None:
    manifests = render(folder, values)
    assert {"Deployment", "ConfigMap"} <= {each["kind"] for each in manifests}
    for manifest in manifests:
        check(manifest)


def test_nearly_everything_is_rendered_once(full: list[dict[str, Any]]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in full]
    assert len(set(names)) == len(names)
    assert {kind for _, kind in SPECS} <= {kind for kind, _ in names}
    assert {"Service", "HorizontalPodAutoscaler", "NetworkPolicy", "Job"} <= {k for k, _ in names}
    assert "Secret" not in {kind for kind, _ in names}, "secrets are referred to, never made"


def test_a_misspelt_field_would_be_found(full: list[dict[str, Any]]) -> None:
    broken = copy.deepcopy(of_kind(full, "Deployment")["shop-nextclick-worker"])
    pod = broken["spec"]["template"]["spec"]
    pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        check(broken)
    scaler = copy.deepcopy(of_kind(full, "ScaledObject")["shop-nextclick-worker"])
    scaler["spec"]["triggers"][0]["metadata"]["lagTreshold"] = "5"
    with pytest.raises(SpecError, match="lagTreshold"):
        check(scaler)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "set exactly one of bundle.claim"),
        (LEAST | {"bundle": {"claim": "a", "image": "b"}}, "set exactly one of bundle.claim"),
        (LEAST | {"settings": {"max_batc": 3}}, "additional properties 'max_batc' not allowed"),
        (LEAST | {"settings": {"max_batch": 0}}, "minimum"),
        (LEAST | {"settings": {"redis_password": "told"}}, "'redis_password' not allowed"),
        (LEAST | {"settings": {"metrics_port": 1}}, "'metrics_port' not allowed"),
        (LEAST | {"secrets": {"redis_password": {"name": "redis"}}}, "missing property 'key'"),
        (LEAST | {"wroker": {}}, "additional properties 'wroker' not allowed"),
        (LEAST | {"settings": {"provider": "cpu"}}, "set worker.gpu.count to 0"),
        (LEAST | {"worker": {"gpu": {"count": 0}}}, "set settings.provider to cpu"),
        (LEAST | {"worker": {"replicas": 17}}, "17 workers cannot share 16 partitions"),
        (
            LEAST | {"worker": {"autoscaling": {"enabled": True, "maxReplicas": 32}}},
            "32 workers cannot share 16 partitions",
        ),
        (LEAST | {"worker": {"terminationGracePeriodSeconds": 10}}, "minimum"),
        (
            LEAST | {"settings": {"brokers": "a:9092,b:9093"}},
            "pods may not call b:9093: port 9093 is not in networkPolicy.kafka.ports",
        ),
        (
            LEAST | {"settings": {"redis_url": "redis://:x@redis:7000/0"}},
            "port 7000 is not in networkPolicy.redis.ports",
        ),
        (LEAST | {"api": {"enabled": True}}, "it needs keys"),
        (
            LEAST | {"api": {"enabled": True, "keys": {"name": "k"}, "provider": "cuda"}},
            "api.gpu.count",
        ),
        (
            LEAST | {"secrets": {"redis_url": {"name": "r", "key": "url"}}},
            "redis_url stands in `secrets` and elsewhere",
        ),
        (
            LEAST
            | {
                "settings": {"kafka_security": "SASL_SSL"},
                "worker": {"autoscaling": {"enabled": True}},
            },
            "KEDA logs in to Kafka with",
        ),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], told: str, folder: Path) -> None:
    with pytest.raises(RefusedValues) as caught:
        render(folder, values)
    assert told in str(caught.value)


def test_a_setting_of_the_chart_may_be_taken_back(folder: Path) -> None:
    secret = {"redis_url": {"name": "redis", "key": "url"}}
    manifests = render(folder, LEAST | {"settings": {"redis_url": None}, "secrets": secret})
    config = of_kind(manifests, "ConfigMap")["shop-nextclick"]["data"]
    assert "NEXTCLICK_REDIS_URL" not in config


def test_the_schema_knows_every_setting_or_the_chart_sets_it() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    keys = ("settings", "secrets", "secretFiles")
    known = {name for key in keys for name in schema["properties"][key]["properties"]}
    assert known | OF_THE_CHART == set(Settings.model_fields)
    assert not known & OF_THE_CHART


def test_the_version_is_that_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == project["version"]


def test_the_alerts_and_the_dashboard_are_those_of_deploy(full: list[dict[str, Any]]) -> None:
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    assert of_kind(full, "PrometheusRule")["shop-nextclick"]["spec"] == alerts
    dashboard = of_kind(full, "ConfigMap")["shop-nextclick-dashboard"]
    text = (ROOT / "deploy/grafana/dashboard.json").read_text(encoding="utf-8")
    assert dashboard["data"] == {"nextclick.json": text}
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_service_account_of_theirs_is_used(folder: Path) -> None:
    manifests = render(folder, ON_THE_CPU)
    assert not of_kind(manifests, "ServiceAccount")
    pod = of_kind(manifests, "Deployment")["shop-nextclick-worker"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "theirs"


def test_the_values_of_the_page_are_possible(folder: Path) -> None:
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml helm\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    manifests = render(folder, yaml.safe_load(example))
    for manifest in manifests:
        check(manifest)
    assert (
        of_kind(manifests, "ScaledObject")["shop-nextclick-worker"]["spec"]["maxReplicaCount"] == 48
    )


def test_the_name_of_the_release_is_not_doubled(folder: Path) -> None:
    assert of_kind(render(folder, LEAST, "nextclick-eu"), "Deployment").keys() == {
        "nextclick-eu-worker"
    }
