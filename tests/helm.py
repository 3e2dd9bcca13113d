"""The real Helm on the chart of deploy/helm: PATH's, else what `make helm` has built."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "helm" / "nextclick"
KUBERNETES = "1.34.0"
"""Whose schemas the manifests are held against; a Helm built by `go install` knows none itself."""


class RefusedValues(AssertionError):
    """Helm does not render the chart with these values; the text is what it says."""


def helm() -> str:
    """Path of the program; skips the test, loudly, where there is none."""
    found = shutil.which("helm") or shutil.which("helm", path=ROOT / ".nextclick" / "bin")
    if found is None:
        pytest.skip("no helm here: `make helm` builds it with Go")
    return found


def run_helm(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What it says, with nothing of this machine's own configuration."""
    homes = {f"HELM_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(
        [helm(), *map(str, arguments)],
        env={"PATH": os.environ["PATH"]} | homes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def render(folder: Path, values: Mapping[str, Any], release: str = "shop") -> list[dict[str, Any]]:
    """The manifests that Helm makes with these values over the chart's own.

    Raises:
        RefusedValues: with what Helm says.
    """
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
    arguments = ("template", release, CHART, "--kube-version", KUBERNETES, "--values", path)
    done = run_helm(folder, *arguments)
    if done.returncode != 0:
        raise RefusedValues(done.stderr)
    return [each for each in yaml.safe_load_all(done.stdout) if each is not None]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Those of a kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}
