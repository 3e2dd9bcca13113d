"""What a speed benchmark leaves: one JSON object printed, and a plot if wanted."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any


def print_figures(name: str, found: dict[str, Any], plots: Path | None) -> None:
    """Print the figures of ``benchmarks.NAME`` and its arguments; with a folder, draw them."""
    found["arguments"] = shlex.join(sys.argv[1:])
    if plots is not None:
        from benchmarks.performance_plots import write_plot  # with matplotlib

        write_plot(name, found, plots)
    sys.stdout.write(json.dumps(found) + "\n")
