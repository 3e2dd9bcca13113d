"""What is shipped: the wheel runs on its own, and constraints.txt pins all that it can need."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "serving", "model")
SHIPPED = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+]+)$")


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a command that succeeds writes to stdout."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel made from that sdist."""
    # A copy: builds leave folders behind, and take up what earlier ones left.
    source = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel, without its dependencies, is installed."""
    target = tmp_path_factory.mktemp("installed")
    [wheel] = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--target", target, wheel, cwd=built)
    return target


@pytest.fixture
def elsewhere(installed: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A working folder and an environment in which the wheel's packages come first."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return tmp_path, environment | {"PYTHONPATH": str(installed), "COLUMNS": "100"}


def source_files() -> set[str]:
    """The files of the packages, as paths inside a wheel."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_every_file_and_no_other(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        assert "Requires-Dist: torch" not in {
            line.split("==")[0]
            for line in archive.read(metadata).decode().splitlines()
            if "extra ==" not in line
        }
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())
    assert names == source_files()
    assert {"serving/functions.lua", "serving/counts.lua"} <= set(names)


def test_the_sdist_has_what_the_wheel_is_made_of(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= source_files() | {"pyproject.toml", "README.md", "LICENSE"}


def test_the_wheel_runs_from_another_folder(
    installed: Path, elsewhere: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = elsewhere
    code = (
        "import sys, stream.app, serving.store, model.bundle\n"
        "for module in (stream.app, serving.store, model.bundle):\n"
        "    sys.stdout.write(module.__file__ + '\\n')\n"
        "sys.stdout.write(str('torch' in sys.modules))"
    )
    *files, torch = run(
        sys.executable, "-c", code, cwd=folder, environment=environment
    ).splitlines()
    assert files == [
        str(installed / name) for name in ("stream/app.py", "serving/store.py", "model/bundle.py")
    ]
    assert torch == "False"


def test_the_command_of_the_wheel_has_help(
    installed: Path, elsewhere: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = elsewhere
    output = run(installed / "bin" / "nextclick", "--help", cwd=folder, environment=environment)
    for verb in ("worker", "replay", "ingest", "topics", "check"):
        assert re.search(rf"\b{verb}\b", output)
    assert list(folder.iterdir()) == []


# --- constraints.txt ---


def pins() -> dict[str, str]:
    """Canonical name to version, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = _PIN.match(line)
            assert match is not None, f"constraints.txt: {line!r} is no exact pin"
            name = canonicalize_name(match[1])
            assert name not in found, f"constraints.txt names {name} twice"
            found[name] = match[2]
    return found


def declared() -> list[Requirement]:
    """Every requirement of pyproject.toml, of all extras, whatever the machine."""
    project = PROJECT["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    requirements = [Requirement(line) for line in lines]
    return [requirement for requirement in requirements if requirement.name != "nextclick"]


def closure() -> Iterator[tuple[str, str]]:
    """(canonical name, installed version) of all that this machine needs, transitively."""
    queue = [(requirement, "") for requirement in declared()]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name == "pip":
            continue  # the environment's own, as Python is
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            found = distribution(requirement.name)
            queue += [(Requirement(line), wanted) for line in found.requires or []]
            yield name, found.version


def test_constraints_pin_each_declared_dependency_as_it_is_allowed() -> None:
    pinned = pins()
    for requirement in declared():
        version = pinned[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{requirement} forbids {version}"


def test_constraints_pin_the_versions_that_these_tests_run_with() -> None:
    pinned, installed = pins(), dict(closure())
    assert len(installed) > 80
    differing = {
        name: (version, pinned.get(name))
        for name, version in installed.items()
        if pinned.get(name) != version
    }
    assert not differing, "make the environment anew: name: (installed, pinned)"


def test_constraints_pin_nothing_that_is_not_needed() -> None:
    # The sibling of onnxruntime-gpu, which one gets depends on the machine.
    unneeded = pins().keys() - dict(closure()).keys() - {"onnxruntime", "onnxruntime-gpu"}
    # A package that only another platform or Python needs is not installed here.
    assert not {name for name in unneeded if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def test_training_is_an_extra_of_its_own() -> None:
    project = PROJECT["project"]
    worker = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert not worker & {"torch", "onnx"}
    train = {Requirement(line).name for line in project["optional-dependencies"]["train"]}
    assert "torch" in train
    assert {"train", "embedded", "demo", "dev"} <= project["optional-dependencies"].keys()
