"""Our ranker beside the raw ONNX Runtime session, torch eager and torch.compile, by batch size.

    python -m benchmarks.scoring --json [--provider cpu|cuda] [--batches 1,8,32,128] [--rounds 5]

All rank the same made-up users with the same pinned network (2 blocks, d = 64, length 50, 12,102
items) on one thread: 100 candidates scored, the best 100 of all items found. Each contender is a
process of its own and takes its turn in every round; a turn's figure is the median run, and a
ratio the median of the rounds' ratios.

``ranker_vs_raw``, the lowest over the batch sizes, is from ready arrays to scores for both: what
the ranker does beside the session's run. ``histories_vs_raw`` has the ranker make the arrays, too.
``variant`` is the ranker on the fp16 graph (CUDA) or the int8 one (CPU), ``captured`` with CUDA
graphs; on a machine with a GPU ``--provider cuda`` measures all of them.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.contender import Contender, ContenderError
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT, LENGTH
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from benchmarks.ratios import median_ratio

OURS = ("ranker", "histories", "captured", "variant")
MODULES = {
    **dict.fromkeys((*OURS, "raw"), "benchmarks.scoring_contender"),
    "eager": "benchmarks.scoring_torch",
    "compile": "benchmarks.scoring_torch",
}
Answers = list[dict[str, Any]]
"""Of one contender at one batch size, round by round."""
Rounds = dict[str, dict[int, Answers]]
"""Contender -> batch size -> answers."""


def measure(asked: argparse.Namespace, kinds: Sequence[str]) -> dict[str, Any]:
    """The whole report.

    Raises:
        ContenderError: a contender refuses, as all of ONNX Runtime's do without a CUDA device.
    """
    batches = [int(batch) for batch in asked.batches.split(",")]
    bundle = pinned_bundle(asked.items)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        contenders = {
            kind: stack.enter_context(Contender(MODULES[kind], [kind, str(bundle), asked.provider]))
            for kind in kinds
        }
        rounds: Rounds = {kind: {batch: [] for batch in batches} for kind in kinds}
        bar = progress.add_task("scoring", total=(asked.rounds + 1) * len(batches) * len(kinds))
        for number in range(asked.rounds + 1):
            for batch in batches:
                for kind, contender in contenders.items():
                    found = contender.ask(batch=batch, seconds=asked.seconds if number else 0.0)
                    if number:  # the first one opens, warms up and compiles
                        rounds[kind][batch].append(found)
                    progress.advance(bar)
        memory = {kind: contender.rss_mb for kind, contender in contenders.items()}
    by_batch = {str(batch): _figures(rounds, batch) for batch in batches}
    return {
        **{
            f"{kind}_vs_raw": min(each[f"{kind}_vs_raw"] for each in by_batch.values())
            for kind in OURS
            if kind in kinds
        },
        "by_processor_time": {
            f"{kind}_vs_raw": _lowest_by_processor(rounds, kind) for kind in OURS if kind in kinds
        },
        "by_batch": by_batch,
        "rss_mb": memory,
        "provider": asked.provider,
        "items": asked.items,
        "length": LENGTH,
        "threads": 1,
        "rounds": asked.rounds,
        "seconds_a_turn": asked.seconds,
        "machine": machine(),
    }


def _figures(rounds: Rounds, batch: int) -> dict[str, Any]:
    """One batch size: ratios first, then microseconds of a user."""
    found = {kind: answers[batch] for kind, answers in rounds.items()}
    pairs = [(kind, "raw") for kind in OURS if kind in found]
    pairs += [("ranker", kind) for kind in found if kind not in (*OURS, "raw")]
    ours = found["ranker"][0]["best"]
    same = {
        kind: sum(a == b for a, b in zip(ours, answers[0]["best"], strict=True)) / batch
        for kind, answers in found.items()
        if kind != "ranker"
    }

    def per_user(figure: str) -> dict[str, float]:
        return {
            kind: round(statistics.median(each[figure] for each in answers) * 1000 / batch, 1)
            for kind, answers in found.items()
        }

    return {
        **{f"{one}_vs_{other}": _faster(found[one], found[other], "ms") for one, other in pairs},
        "us_per_user": per_user("ms"),
        "cpu_us_per_user": per_user("cpu_ms"),
        "same_best_20_as_ranker": {kind: round(share, 3) for kind, share in same.items()},
    }


def _faster(one: Answers, other: Answers, figure: str) -> float:
    """How many times as fast as the other the one is."""
    return median_ratio((each[figure] for each in other), (each[figure] for each in one))


def _lowest_by_processor(rounds: Rounds, kind: str) -> float:
    ours, raw = rounds[kind], rounds["raw"]
    return min(_faster(ours[batch], raw[batch], "cpu_ms") for batch in ours)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batches", default="1,8,32,128", help="users in a run")
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a contender's turn")
    parser.add_argument("--contenders", help="of all; ranker and raw always among them")
    parser.add_argument("--plots", type=Path, help="a folder to draw the figures into")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    everyone = [kind for kind in MODULES if kind != "captured" or asked.provider == "cuda"]
    kinds = asked.contenders.split(",") if asked.contenders else everyone
    if unknown := set(kinds) - MODULES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    if not {"ranker", "raw"} <= set(kinds):
        parser.error("--contenders needs ranker and raw, which all others are held against")
    try:
        found = measure(asked, kinds)
    except ContenderError as error:
        sys.exit(f"benchmarks.scoring: {error}")
    print_figures("scoring", found, asked.plots)


if __name__ == "__main__":
    main()
