"""How good are the lists: every method on public data, all items ranked, one JSON object.

    python -m benchmarks.quality --dataset beauty --data DIR --minutes 2 --json [--test]

Settings are chosen on validation within the minutes, and with --journal each trial is written
down and a training kept in a checkpoint beside it, so that the same command goes on where it was
broken off; a training that had ended, and the blend's weights, begin again. The minutes do not
count judging and the learned re-ranking, which comes last. Only with --test is the test judged,
once for each method and row. ``methods`` holds method -> row -> validation, test, settings,
seconds, trials; blend and re-ranking learn from the validation cases themselves, and their
``held_out`` is what they reach on the half that they have not learned from.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.quality_data import DATASETS, Dataset, Row
from benchmarks.quality_methods import (
    Contender,
    LeftOut,
    Terms,
    contenders,
    fits,
    with_what_they_need,
)
from model.choice import Budget, Choice
from model.journal import Journal
from model.method import Method
from model.ranks import judge
from model.sequences import Cases

SEED = 7
DIGITS = 5
BEST_TRIALS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=sorted(DATASETS), required=True, help="the protocol")
    parser.add_argument("--data", type=Path, required=True, help="a folder in its layout")
    parser.add_argument("--minutes", type=float, default=2.0, help="to choose settings in")
    parser.add_argument("--journal", type=Path, help="a file of trials, to go on from")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--methods", nargs="*", help="only these")
    parser.add_argument("--test", action="store_true", help="judge the test too")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(quality(asked), indent=1) + "\n")


def quality(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report.

    Raises:
        ValueError: when no method is left to judge.
    """
    begun = time.perf_counter()
    data = DATASETS[asked.dataset](asked.data)
    wanted = list(contenders(asked.dataset, data, asked.data))
    if asked.methods:
        wanted = with_what_they_need(asked.methods, wanted)
    taking_part = [each for each in wanted if isinstance(each, Contender)]
    if not taking_part:
        absent = [each for each in wanted if isinstance(each, LeftOut)]
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in absent)
        raise ValueError(f"no method is left to judge ({reasons})")
    methods: dict[str, Any] = {each.name: {} for each in taking_part}
    # Rows that share their settings follow each other, and share the fitted methods.
    for choice in dict.fromkeys(row.choice for row in data.rows):
        rows = [row for row in data.rows if row.choice == choice]
        judged(taking_part, data, rows, asked, methods)
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
        "left_out": {each.name: each.reason for each in wanted if isinstance(each, LeftOut)},
        "seed": asked.seed,
        "minutes": asked.minutes,
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": platform.machine(),
    }


def judged(
    taking_part: Iterable[Contender],
    data: Dataset,
    rows: Sequence[Row],
    asked: argparse.Namespace,
    report: dict[str, Any],
) -> None:
    """All methods on rows that share their choice of settings, into method -> row -> figures."""
    ready = [each for each in taking_part if fits(each, rows[0])]
    choices = len({row.choice for row in data.rows})
    total = sum(each.share for each in ready)
    fitted: dict[str, Method] = {}
    for each in ready:
        seconds = 60 * asked.minutes * each.share / total / choices
        search = search_of(asked, data, f"{each.name} {rows[0].choice}")
        terms = Terms(
            Budget(seconds),
            asked.seed,
            Journal(asked.journal, search) if asked.journal else None,
            checkpoint_of(asked.journal, search) if asked.journal else None,
            dict(fitted),
        )
        fitted[each.name], figures = choose_settings(each.make(terms), data, rows[0])
        for row in rows:
            report[each.name][row.name] = dict(figures)
    learned = rows[0].split.train
    for row in rows if asked.test else ():
        for each in ready:
            method = fitted[each.name]
            if row.split.final is not learned and not each.derived:
                method.refit(row.split.final)
            report[each.name][row.name]["test"] = measured(method, data, row.split.test)
        learned = row.split.final


def search_of(asked: argparse.Namespace, data: Dataset, name: str) -> str:
    """Names one search, so that it goes on from its own trials alone."""
    mark = crc32(data.sequences.items.tobytes(), crc32(data.sequences.starts.tobytes()))
    return f"{asked.dataset} data {mark:08x} {name} seed {asked.seed}"


def checkpoint_of(journal: Path, search: str) -> Path:
    """The file beside a journal in which the training of a search is kept until it is done."""
    return journal.with_name(f"{journal.name}.{search.replace(' ', '-')}.checkpoint")


def choose_settings(method: Method, data: Dataset, row: Row) -> tuple[Method, dict[str, Any]]:
    """The method with its settings chosen, and what it reaches on validation."""
    begun = time.perf_counter()
    method.fit(row.split.train, row.split.validation)
    fitted = time.perf_counter()
    figures: dict[str, Any] = {
        "validation": measured(method, data, row.split.validation),
        "settings": dict(method.settings()),
        "fit_seconds": round(fitted - begun, 2),
        "judge_seconds": round(time.perf_counter() - fitted, 2),
    }
    if isinstance(choice := getattr(method, "choice", None), Choice):
        figures |= {"trials": len(choice.tried), "choice_finished": choice.finished}
        figures["best_trials"] = choice.table()[:BEST_TRIALS]
    if (held_out := getattr(method, "held_out", None)) is not None:
        figures["held_out"] = round(held_out, DIGITS)
    return method, figures


def measured(method: Method, data: Dataset, cases: Cases) -> dict[str, float]:
    """Metric name to its mean over cases."""
    ranks = judge(method, cases)
    return {metric.name: round(metric.of(ranks), DIGITS) for metric in data.metrics}


if __name__ == "__main__":
    main()
