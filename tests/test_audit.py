"""An audit that could look nothing up is no audit that passed; a bill of materials names all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.audit import UNAUDITED, judge
from tests.test_packaging import closure

SOUND = {"name": "redis", "version": "8.1.0", "vulns": []}
FLAWED = {
    "name": "aiohttp",
    "version": "3.8.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.8.1"], "aliases": [], "description": ""}],
}
UNKNOWN = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}


def answer(*dependencies: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """What pip-audit would have said."""
    text = json.dumps({"dependencies": dependencies, "fixes": []})
    return subprocess.CompletedProcess([], int(FLAWED in dependencies), text, "")


@pytest.mark.parametrize(
    ("dependencies", "status", "told"),
    [
        ([SOUND], 0, "1 of 1 packages were looked up"),
        ([SOUND, FLAWED], 1, "aiohttp 3.8.0: PYSEC-1, mended in 3.8.1"),
        ([FLAWED, UNKNOWN], 1, "1 of 2 packages were looked up"),
        ([SOUND, UNKNOWN], UNAUDITED, "not found on PyPI"),
        ([UNKNOWN, UNKNOWN], UNAUDITED, "0 of 2 packages were looked up"),
        ([], UNAUDITED, "0 of 0"),
    ],
)
def test_the_status_says_what_was_looked_up(
    dependencies: list[dict[str, Any]], status: int, told: str
) -> None:
    verdict = judge(answer(*dependencies))
    assert verdict.status == status
    assert told in verdict.text


@pytest.mark.parametrize(
    ("error", "status"),
    [("requests.exceptions.ConnectionError: away", UNAUDITED), ("error: unknown option", 1)],
)
def test_a_network_that_is_down_is_told_from_a_fault(error: str, status: int) -> None:
    verdict = judge(subprocess.CompletedProcess([], 1, "", error))
    assert verdict.status == status
    assert error in verdict.text


def test_the_bill_of_materials_names_every_package(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", sys.executable]
    done = subprocess.run(
        [*command, "--pyproject", "pyproject.toml", "--output-file", str(path)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(path.read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    named = {(canonicalize_name(each["name"]), each["version"]) for each in bill["components"]}
    assert set(closure()) <= named
