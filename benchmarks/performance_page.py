"""docs/performance.md from what the speed benchmarks printed.

    python -m benchmarks.performance_page [docs/performance] [--measure scoring,latency,...|all]

The folder holds a JSON file of each benchmark and gets a plot of each; the page is written beside
it. With --measure the benchmarks named run first, one after the other, with their defaults.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.performance_plots import write_plot
from benchmarks.performance_tables import (
    Found,
    flame_section,
    latency_section,
    path_section,
    pipeline_section,
    replay_section,
    scaling_section,
    scoring_section,
    targets,
)

FOLDER = Path("docs/performance")


@dataclass(frozen=True)
class Part:
    """A part of the page: one run of a benchmark."""

    title: str
    text: Callable[[Found], str]
    benchmark: str
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Without ``--json``."""
        return " ".join(["python -m", f"benchmarks.{self.benchmark}", *self.arguments])


PARTS = {
    "pipeline": Part("Throughput", pipeline_section, "pipeline"),
    "pipeline_embedded": Part(
        "Throughput on the embedded broker", pipeline_section,
        # Of each partition it keeps 5 MiB.
        "pipeline",
        (
            "--broker=embedded", "--events=100000",
            "--only=transport,ingest,full,aiokafka,plain_set,stock_faust,stock_faust_job",
        ),
    ),
    "path_profile": Part("Where the time goes", path_section, "path_profile"),
    "flame_graph": Part("Function by function", flame_section, "flame_graph"),
    "latency": Part("Latency", latency_section, "latency"),
    "scoring": Part("Scoring", scoring_section, "scoring"),
    "scaling": Part("Scaling", scaling_section, "scaling"),
    "replay": Part("Replay", replay_section, "replay"),
}  # fmt: skip
INTRODUCTION = """\
# Performance

Written by `python -m benchmarks.performance_page` from the JSON files in `docs/performance/`;
`python -m benchmarks.performance_page --measure all` measures everything anew first.

Every contender is a process of its own; they take turns, round by round, and a ratio is the median
of the rounds' ratios. Ratios of one run can be compared with those of another machine, rates and
milliseconds hardly. The model is pinned, so that days can be compared: 2 blocks, d = 64, length 50,
12,102 items, untrained, one thread. Broker, Redis, load and worker share the machine's cores, and
whatever else it does: the load average stands beside each table. A ratio by processor time counts
the contender's own process and nothing else, and other work disturbs it least.
"""

BUSY = 1.5
"""Load average for each core: a benchmark's own processes make it about one."""
DISTURBED = (
    "**Other work kept this machine busy meanwhile: rates and milliseconds say little, ratios a "
    "little more.**\n"
)


def page(found: dict[str, Found], folder: str) -> str:
    """The whole page.

    Args:
        found: benchmark -> what it printed; those that are missing are said to be.
        folder: of the plots, as seen from the page.
    """
    parts = [INTRODUCTION, "## Targets\n", targets(found)]
    for name, part in PARTS.items():
        parts.append(f"## {part.title}\n")
        if name not in found:
            parts.append(f"Not measured yet: `{part.command} --json`.\n")
            continue
        command = f"python -m benchmarks.{part.benchmark} {found[name]['arguments']}"
        parts.append(f"`{command}`, {_hardware(found[name]['machine'])}.\n")
        if found[name]["machine"]["load_average"] > found[name]["machine"]["cores"] * BUSY:
            parts.append(DISTURBED)
        parts.append(part.text(found[name]))
        parts.append(f"![{part.title}]({folder}/{name}.png)\n")
    return "\n".join(parts)


def _hardware(machine: dict[str, Any]) -> str:
    runtime = " ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, {runtime}; load average at the "
        f"end {machine['load_average']}"
    )


def read(folder: Path) -> dict[str, Found]:
    """What the folder has, by benchmark."""
    paths = {name: folder / f"{name}.json" for name in PARTS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}


def measure(names: Sequence[str], folder: Path) -> None:
    """Run the benchmarks and keep what they print.

    Raises:
        subprocess.CalledProcessError: one has failed; what it says stands on standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        part = PARTS[name]
        command = [sys.executable, "-m", f"benchmarks.{part.benchmark}", "--json", *part.arguments]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        tidy = json.dumps(json.loads(printed), indent=1) + "\n"
        (folder / f"{name}.json").write_text(tidy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, draw the plots, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--measure", default="", help="benchmarks to run first, or all")
    asked = parser.parse_args(arguments)
    names = list(PARTS) if asked.measure == "all" else asked.measure.split(",")
    if unknown := {name for name in names if name} - PARTS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    measure([name for name in names if name], asked.folder)
    found = read(asked.folder)
    for name, each in found.items():
        write_plot(name, each, asked.folder)
    asked.folder.with_suffix(".md").write_text(page(found, asked.folder.name))


if __name__ == "__main__":
    main()
