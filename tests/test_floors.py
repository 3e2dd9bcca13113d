"""The import floors, and no torch in a worker: statically, and in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "serving", "model")
TRAINING = {"torch", "onnx"}
"""What only the training rooms load."""
TRAINING_ROOMS = {
    "network", "content_tower", "step_table", "loss", "train", "trainer", "checkpoint",
    "export", "tower_export", "variants", "item_start", "sequence_training", "member", "scoring",
    "reranking_network", "learning_curve", "newest_state", "state_graph",
}  # fmt: skip

WORKER = "stream.app", "stream.worker", "stream.worker_process", "stream.cli"
"""What a worker process imports; its command line brings the other rooms in, verb by verb."""


def lint(folder: Path) -> tuple[bool, str]:
    """Whether the contracts of this project hold over the packages in ``folder``."""
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [script, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": str(script.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def building(tmp_path: Path) -> Path:
    """Three floors with the rooms that the contracts name, each of them empty."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for room in ("stream/app", "stream/worker", "serving/store", "model/events", "model/train"):
        (tmp_path / f"{room}.py").touch()
    return tmp_path


def test_the_floors_hold() -> None:
    holds, output = lint(ROOT)
    assert holds, output
    assert "2 kept, 0 broken" in output


def test_an_empty_building_holds(building: Path) -> None:
    # Else the two tests below could see the linter fail for another reason.
    holds, output = lint(building)
    assert holds, output
    assert "2 kept, 0 broken" in output


@pytest.mark.parametrize(
    ("lower", "upper"), [("model", "serving"), ("model", "stream"), ("serving", "stream")]
)
def test_an_upward_import_is_caught(lower: str, upper: str, building: Path) -> None:
    # Inside a function: what is imported late is imported all the same.
    (building / lower / "extra.py").write_text(f"def f():\n    import {upper}\n", encoding="utf-8")
    holds, output = lint(building)
    assert not holds
    assert re.search(rf"{lower}\.extra -> {upper}\b", output)


def test_torch_by_way_of_another_room_is_caught(building: Path) -> None:
    (building / "model" / "train.py").write_text("import torch\n", encoding="utf-8")
    (building / "stream" / "app.py").write_text("import model.train\n", encoding="utf-8")
    holds, output = lint(building)
    assert not holds
    assert "model.train -> torch" in output


def test_only_the_training_rooms_import_torch() -> None:
    imports = re.compile(r"^\s*(?:import|from)\s+(torch|onnx)\b", re.MULTILINE)
    rooms = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if imports.search(path.read_text(encoding="utf-8"))
    }
    assert rooms
    assert {room.parent.name for room in rooms} == {"model"}
    assert {room.stem for room in rooms} <= TRAINING_ROOMS


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_worker_runs_where_there_is_no_torch() -> None:
    # None in sys.modules makes an import fail as if the package were not installed.
    code = f"""
import importlib, sys
for name in {sorted(TRAINING)}:
    sys.modules[name] = None
for name in {list(WORKER)}:
    importlib.import_module(name)
from stream.app import build_app
from stream.settings import Settings
app = build_app(Settings(provider="cpu"))
app.finalize()
assert app.agents, "the app has no agent"
sys.stdout.write("ready")
"""
    assert run_python(code) == "ready"


def test_a_worker_does_not_load_torch_where_there_is_one() -> None:
    code = f"""
import importlib, sys
for name in {list(WORKER)}:
    importlib.import_module(name)
sys.stdout.write(" ".join(sorted(set(sys.modules) & {TRAINING})) or "none")
"""
    assert run_python(code) == "none"


def test_torch_would_be_seen_in_the_training_rooms() -> None:
    # Proves that the test above looks at the right thing.
    code = "import sys, model.network; sys.stdout.write(str('torch' in sys.modules))"
    assert run_python(code) == "True"
