"""The suite can fail: ``python -m tests.chaos.selftest`` breaks a worker and wants the suite red.

One promise is broken at a time, in a short run each; a run with nothing broken must be green.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.report import Report
from tests.chaos.run import kafka_jars, run
from tests.chaos.sabotage import SABOTAGES
from tests.chaos.schedule import Kind
from tests.chaos.stage import Plan

EVENTS = 8_000
KILLS = (Kind.KILL_WORKER,) * 8
"""Each a chance to lose or to double what the worker had at hand."""


def trial(sabotage: str, seed: int, kafka: Path | None, console: Console) -> Report:
    """A short run with that sabotage, or with none where it is ""."""
    folder = Path(tempfile.mkdtemp(prefix="nextclick-chaos-"))
    try:
        plan = Plan(EVENTS, len(KILLS), seed, kafka, sabotage, KILLS)
        return run(plan, folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verdict(sabotage: str, report: Report) -> str:
    """What is wrong with the suite; "" where it has done its duty."""
    if not sabotage:
        return "" if report.is_green else f"red without a reason: {report.verdicts}"
    due = SABOTAGES[sabotage].red_checks
    if report.red_checks & due:
        return ""
    return f"none of {', '.join(sorted(due))} has noticed; the run says {report.verdicts}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every trial; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.selftest", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=("kafka", "embedded"))
    parser.add_argument("--only", choices=("nothing", *SABOTAGES), help="one of the trials")
    given = parser.parse_args(arguments)
    errors = Console(stderr=True)
    kafka = kafka_jars(given.backend, errors)
    trials = [name for name in ("", *SABOTAGES) if given.only in (None, name or "nothing")]
    table = Table("broken", "red checks", "as it should be", title="chaos selftest")
    faults = 0
    for sabotage in trials:
        errors.print(f"broken: {sabotage or 'nothing'}")
        report = trial(sabotage, given.seed, kafka, errors)
        wrong = verdict(sabotage, report)
        faults += bool(wrong)
        red = ", ".join(f"{each.check} ({each.count})" for each in report.differences if each.count)
        table.add_row(sabotage or "nothing", red or "none", wrong or "yes")
    Console().print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
