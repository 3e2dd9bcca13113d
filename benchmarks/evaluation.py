"""How fast are all items ranked: an exported network of Diginetica's shape, judged on prefixes.

    python -m benchmarks.evaluation --json [--data FOLDER]

60,858 prefixes over 43,097 items: made up with the lengths of the real ones, or with --data those
of the test file. The weights are random, so no figure of quality is read; ``bare_seconds`` is what
the same batches take in ONNX Runtime alone, from features that are ready.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.features import FIRST_ITEM
from model.layouts import read_sessions
from model.network import Network, NetworkConfig
from model.packing import windows_of
from model.ranks import BATCH_CELLS, judge
from model.scoring import ScoringSession, export_scoring
from model.sequences import Cases, Sequences

PREFIXES, ITEMS = 60_858, 43_097
LENGTH_SHARES = (
    0.2623, 0.1881, 0.1371, 0.1007, 0.0759, 0.0564, 0.0423, 0.0323, 0.0246, 0.0187,
    0.0141, 0.0106, 0.0081, 0.0063, 0.0051, 0.0039, 0.0029, 0.0023, 0.0017, 0.0067,
)  # fmt: skip
"""Of prefixes with 1, 2, ... clicks in the real data; the last one stands for all longer ones."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder in the layout of session_diginetica")
    parser.add_argument("--prefixes", type=int, default=PREFIXES, help="at most so many")
    parser.add_argument("--items", type=int, default=ITEMS, help="of made-up prefixes")
    parser.add_argument("--length", type=int, default=20, help="newest clicks that are read")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0: all")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(measured(asked)) + "\n")


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Build, judge, and run the same batches bare."""
    cases = real(asked.data) if asked.data else made_up(asked.prefixes, asked.items, asked.seed)
    cases = cases.take(np.arange(min(asked.prefixes, len(cases))))
    network = exported(cases, asked)
    network.scores(cases.histories.take(np.arange(1)))  # ONNX Runtime packs weights once.
    begun, worked = time.perf_counter(), time.process_time()
    ranks = judge(network, cases)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - worked
    # After all else but the bare runs, which hold no more than the judged ones.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bare, bare_cpu = bare_runs(network, cases, asked.length)
    return {
        "prefixes": len(cases),
        "items": cases.histories.item_count,
        "real_prefixes": asked.data is not None,
        "length": asked.length,
        "dim": asked.dim,
        "seconds": round(seconds, 4),
        "cpu_seconds": round(cpu_seconds, 4),
        "cases_per_s": round(len(cases) / seconds, 1),
        "bare_seconds": round(bare, 4),
        "bare_cpu_seconds": round(bare_cpu, 4),
        "ratio": round(seconds / bare, 3),
        "cpu_ratio": round(cpu_seconds / bare_cpu, 3),
        "peak_mib": round(memory),
        "ranked": int((ranks.ranks <= cases.histories.item_count).sum()),
        "seed": asked.seed,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


def bare_runs(network: ScoringSession, cases: Cases, length: int) -> tuple[float, float]:
    """Seconds and CPU seconds of the graph alone, on the batches of ``judge``."""
    size = max(1, BATCH_CELLS // cases.histories.item_count)
    batches = [
        windows_of(cases.histories.take(np.arange(start, min(start + size, len(cases)))), length)
        for start in range(0, len(cases), size)
    ]
    begun, worked = time.perf_counter(), time.process_time()
    for features in batches:
        network.run(features)
    return time.perf_counter() - begun, time.process_time() - worked


def exported(cases: Cases, asked: argparse.Namespace) -> ScoringSession:
    """A network of random weights, exported as those that ``benchmarks.quality`` judges."""
    torch.manual_seed(asked.seed)
    rows = FIRST_ITEM + cases.histories.item_count
    network = Network(NetworkConfig(rows, length=asked.length, dim=asked.dim))
    some = cases.histories.take(np.arange(min(64, len(cases))))
    return ScoringSession(export_scoring([network], some), asked.length, asked.threads)


def made_up(count: int, items: int, seed: int) -> Cases:
    """Prefixes of the real lengths, of items as unevenly frequent as in shops (Zipf)."""
    rng = np.random.default_rng(seed)
    shares = np.array(LENGTH_SHARES) / sum(LENGTH_SHARES)
    lengths = rng.choice(np.arange(1, len(shares) + 1), count, p=shares)
    weights = 1 / np.arange(1, items + 1)
    drawn = rng.choice(items, int(lengths.sum()) + count, p=weights / weights.sum())
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    histories = Sequences(
        drawn[: starts[-1]].astype(np.int32), starts, [str(item) for item in range(items)]
    )
    return Cases.single(histories, drawn[starts[-1] :].astype(np.int32), seen_excluded=False)


def real(folder: Path) -> Cases:
    """The prefixes of the test file."""
    _, cases, _ = read_sessions(folder / "train_sessions.txt", folder / "test_prefix_target.txt")
    return cases


if __name__ == "__main__":
    main()
