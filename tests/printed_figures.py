"""What a benchmark prints when it is run as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run_benchmark(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m benchmarks.MODULE --json *arguments``, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--json", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip


def figures_of(module: str, *arguments: str) -> dict[str, Any]:
    """The one JSON object that it prints."""
    run = run_benchmark(module, *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(run.stdout)
    return found
