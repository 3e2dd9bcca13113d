"""Every alert rests on metrics that exist, has its section in the runbook, and fires."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from serving import metrics

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
_SAMPLE = re.compile(r"\bnextclick_\w+")


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES = [rule for group in load("alerts.yaml")["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES]


def told() -> set[str]:
    """Names of all samples that a worker can tell."""
    assert metrics.LATENCY
    names = set()
    for family in REGISTRY.collect():
        names |= {family.name, f"{family.name}_total"} if family.type == "counter" else set()
        names |= {family.name} if family.type == "gauge" else set()
        if family.type == "histogram":
            names |= {f"{family.name}_{end}" for end in ("bucket", "sum", "count")}
    return names


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_metric_of_a_rule_exists(rule: dict[str, Any]) -> None:
    assert set(_SAMPLE.findall(rule["expr"])) <= told()


def test_every_metric_of_the_rules_test_exists() -> None:
    assert set(_SAMPLE.findall((FOLDER / "alerts.test.yaml").read_text("utf-8"))) <= told()


def test_every_alert_has_its_section_and_no_section_is_of_none() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == NAMES


def test_every_alert_is_to_fire_in_the_rules_test() -> None:
    fired = [
        each["expr"]
        for case in load("alerts.test.yaml")["tests"]
        for each in case["promql_expr_test"]
        if each["exp_samples"]
    ]
    assert [name for name in NAMES if not any(f'"{name}"' in expr for expr in fired)] == []


def test_every_alert_fires_and_none_without_a_cause() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: Debian's package prometheus has it")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]):
        done = subprocess.run(
            [promtool, *command],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
