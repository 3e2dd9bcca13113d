"""How good are the lists: every method on public data, all items ranked, one JSON object.

    python -m benchmarks.quality --dataset beauty --data DIR --minutes 2 --json [--test]

Settings are chosen on validation within the minutes. Only with --test is the test judged, once for
each method and row. ``methods`` holds method -> row -> validation, test, settings, seconds.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality_data import DATASETS, Dataset, Row
from benchmarks.quality_methods import Contender, LeftOut, contenders, fits
from model.choice import Budget
from model.method import Method
from model.ranks import judge
from model.sequences import Cases

SEED = 7
DIGITS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=sorted(DATASETS), required=True, help="the protocol")
    parser.add_argument("--data", type=Path, required=True, help="a folder in its layout")
    parser.add_argument("--minutes", type=float, default=2.0, help="to choose settings in")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--methods", nargs="*", help="only these")
    parser.add_argument("--test", action="store_true", help="judge the test too")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(quality(asked), indent=1) + "\n")


def quality(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    begun = time.perf_counter()
    data = DATASETS[asked.dataset](asked.data)
    methods: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    wanted = [
        each
        for each in contenders(asked.dataset, data)
        if not asked.methods or each.name in asked.methods
    ]
    total = sum(each.share for each in wanted if isinstance(each, Contender))
    for each in wanted:
        if isinstance(each, LeftOut):
            left_out[each.name] = each.reason
            continue
        seconds = 60 * asked.minutes * each.share / total
        methods[each.name] = judged(each, data, Budget(seconds), asked)
    return {
        "dataset": asked.dataset,
        "sequences": len(data.sequences),
        "items": data.sequences.item_count,
        "cleaning": {"read": data.cleaning.read, "kept": data.cleaning.kept}
        | {"left_out": data.cleaning.dropped},
        "cases": {
            row.name: {"validation": len(row.split.validation), "test": len(row.split.test)}
            for row in data.rows
        },
        "unit": data.unit,
        "methods": methods,
        "left_out": left_out,
        "seed": asked.seed,
        "minutes": asked.minutes,
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": platform.machine(),
    }


def judged(
    contender: Contender, data: Dataset, budget: Budget, asked: argparse.Namespace
) -> dict[str, Any]:
    """One method on every row that it fits."""
    rows = [row for row in data.rows if fits(contender, row)]
    choices = {row.choice for row in rows}
    each = Budget(budget.seconds / len(choices), budget.trials)
    chosen: dict[str, tuple[Method, dict[str, Any]]] = {}
    report: dict[str, Any] = {}
    for row in rows:
        if row.choice not in chosen:
            chosen[row.choice] = choose_settings(contender.make(each, asked.seed), data, row)
        method, figures = chosen[row.choice]
        report[row.name] = figures
        if asked.test:
            report[row.name] = figures | {"test": tested(method, data, row)}
    return report


def choose_settings(method: Method, data: Dataset, row: Row) -> tuple[Method, dict[str, Any]]:
    """The method with its settings chosen, and what it reaches on validation."""
    begun = time.perf_counter()
    method.fit(row.split.train, row.split.validation)
    fitted = time.perf_counter()
    figures = {
        "validation": measured(method, data, row.split.validation),
        "settings": dict(method.settings()),
        "fit_seconds": round(fitted - begun, 2),
        "judge_seconds": round(time.perf_counter() - fitted, 2),
    }
    choice = getattr(method, "choice", None)
    if choice is not None:
        figures |= {"trials": choice.trials, "choice_finished": choice.finished}
    return method, figures


def tested(method: Method, data: Dataset, row: Row) -> dict[str, float]:
    """The test, after learning all that the row allows."""
    method.refit(row.split.final)
    return measured(method, data, row.split.test)


def measured(method: Method, data: Dataset, cases: Cases) -> dict[str, float]:
    """Metric name to its mean over cases."""
    ranks = judge(method, cases)
    return {metric.name: round(metric.of(ranks), DIGITS) for metric in data.metrics}


if __name__ == "__main__":
    main()
