"""Nearest items of a large catalogue on one core: what is found, how soon, and while it changes.

    python -m benchmarks.retrieval --items 1000000 --json [--rounds 5] [--contenders index,exact]

Made-up vectors with the structure of trained ones (``benchmarks.made_up_vectors``), 1,000 users one
by one, the 100 nearest items of each. Each contender is a process of its own and takes its turn in
every round; its figures are medians of the rounds. ``growth`` holds the index of all items against
one of a tenth of them, made alike; ratios are taken round by round.

``stream`` is the index beside 100 changes a second by another thread; ``memory`` that of two
processes with the same index beside one. ``hnswlib`` and ``usearch`` are contenders too, where
they are installed. Making the index of a million items takes some minutes, once.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.contender import Contender, ContenderError
from benchmarks.machine import machine
from benchmarks.printed import print_figures
from benchmarks.ratios import median_ratio
from benchmarks.retrieval_set import USERS, read_set, retrieval_set

MODULE = "benchmarks.retrieval_contender"
KINDS = ("index", "exact", "hnswlib", "usearch")
TENTH = 10
UNAVAILABLE = (0.3, 0.9)
FEW = 200
"""Users for whom the product with all items is made."""
BATCH = 64
Answers = list[dict[str, Any]]


def measure(asked: argparse.Namespace, kinds: Sequence[str]) -> dict[str, Any]:
    """The whole report.

    Raises:
        ContenderError: a contender's package is not installed.
    """
    whole, tenth = retrieval_set(asked.items), retrieval_set(asked.items // TENTH)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        bar = progress.add_task("retrieval", total=asked.rounds * (len(kinds) + 1) + asked.rounds)

        def opened(kind: str, folder: Path) -> Contender:
            return stack.enter_context(Contender(MODULE, [kind, str(folder)]))

        contenders = {kind: opened(kind, whole) for kind in kinds}
        small = opened("index", tenth)
        rounds: dict[str, Answers] = {kind: [] for kind in (*kinds, "tenth")}
        for _ in range(asked.rounds):
            for kind, contender in {**contenders, "tenth": small}.items():
                rounds[kind].append(
                    contender.ask(task="turn", users=FEW if kind == "exact" else USERS)
                )
                progress.advance(bar)
        index = contenders["index"]
        memory = {kind: each.ask(task="memory") for kind, each in contenders.items()}
        small.close()
        second = opened("index", whole)
        second.ask(task="turn", users=USERS)
        pair = [each.ask(task="memory") for each in (index, second)]
        second.close()
        batch = index.ask(task="together", users=BATCH)
        barred = {
            str(share): index.ask(task="barred", share=share, users=FEW) for share in UNAVAILABLE
        }
        streams = []
        for _ in range(asked.rounds):
            streams.append(
                index.ask(task="stream", seconds=asked.seconds, per_second=asked.upserts)
            )
            progress.advance(bar)
    return {
        "recall": _median(rounds["index"])["recall"],
        "p99_ms": _median(rounds["index"])["p99_ms"],
        "growth": _growth(rounds["index"], rounds["tenth"]),
        **{
            f"{quiet}slowest_vs_p99{unit}": median(
                each[f"{quiet}slowest_vs_p99{unit}"] for each in streams
            )
            for unit in ("", "_cpu")
            for quiet in ("", "quiet_")
        },
        "slowest_visible_ms": max(each["visible_after_ms"]["max"] for each in streams),
        "not_found": sum(each["not_found"] for each in streams),
        "contenders": {kind: _median(answers) for kind, answers in rounds.items()},
        "in_batches": {"users": BATCH, **batch},
        "unavailable": barred,
        "streams": streams,
        "memory_mb": {"of_contenders": memory, "of_two": pair},
        "made_in_cpu_s": read_set(whole).made_in_s,
        "items": asked.items,
        "rounds": asked.rounds,
        "machine": machine(),
    }


def _median(answers: Answers) -> dict[str, float]:
    return {name: round(median(each[name] for each in answers), 4) for name in answers[0]}


def _growth(whole: Answers, tenth: Answers) -> dict[str, float]:
    """How many times as long a search takes of ten times as many items."""
    return {
        name: median_ratio((each[name] for each in whole), (each[name] for each in tenth))
        for name in ("p50_ms", "p99_ms", "p50_cpu_ms", "p99_cpu_ms")
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each half of a stream")
    parser.add_argument("--upserts", type=float, default=100.0, help="a second")
    parser.add_argument("--contenders", default="index,exact", help="index always among them")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    kinds = asked.contenders.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if "index" not in kinds:
        parser.error("--contenders needs index, which all others are held against")
    try:
        found = measure(asked, kinds)
    except ContenderError as error:
        sys.exit(f"benchmarks.retrieval: {error}")
    print_figures("retrieval", found, None)


if __name__ == "__main__":
    main()
