"""Hostile input through the decoder and the whole agent path: how much, how fast, what broke.

    python -m benchmarks.fuzz --inputs 1000000 --seed 7 --json [--atheris 500000]

Each record is decoded, merged, counted, ranked and answered by ``serving.recommend.recommend``, in
micro-batches, on a real Valkey and a small bundle; lists are encoded and kept, dead letters get
their headers. A crash is any exception: the batch that raised it is run again record by record,
and each culprit is reported with its bytes. ``--atheris`` adds a coverage-guided run of the decoder
in a process of its own (``pip install atheris``). The exit status is 1 where anything crashed.
"""

import argparse
import asyncio
import base64
import json
import logging
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import psutil

from benchmarks.fuzz_inputs import ITEM_IDS, FuzzInputs
from model.bundle import load_bundle
from model.events import Reason
from model.items import Item
from serving.parts import Parts
from serving.recommend import recommend
from serving.recommendation import decode_recommendation, encode_recommendation
from stream.deadletter import dead_letter_message, read_dead_letter
from stream.embedded_redis import EmbeddedRedis
from tests.parts import FakeRecord, open_parts
from tests.tiny import tiny_bundle

BATCH = 512
SHOWN_CRASHES = 20
MOST_BYTES = 100_000
"""Less than in a worker, so that dead letters that are truncated come up."""
REASONS = frozenset(get_args(Reason))


@dataclass
class FuzzReport:
    """What became of the inputs."""

    inputs: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    lists: int = 0
    crashes: list[dict[str, Any]] = field(default_factory=list)
    crash_count: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """For machines."""
        refused = sum(self.refused.values())
        return {
            "inputs": self.inputs,
            "crashes": self.crash_count,
            "accepted": self.inputs - refused - self.crash_count,
            "refused": refused,
            "refused_by_reason": dict(self.refused.most_common()),
            "lists": self.lists,
            "inputs_per_s": round(self.inputs / self.seconds) if self.seconds else 0,
            "seconds": round(self.seconds, 1),
            "first_crashes": self.crashes,
        }


async def fuzz(parts: Parts, inputs: FuzzInputs, count: int, batch: int = BATCH) -> FuzzReport:
    """Feed ``count`` records to the path, in micro-batches of up to ``batch``."""
    report = FuzzReport()
    started = time.monotonic()
    while report.inputs < count:
        records = inputs.batch(min(batch, count - report.inputs))
        report.inputs += len(records)
        try:
            await _feed(parts, records, report)
        except Exception:
            await _find_culprits(parts, records, report)
        if report.inputs % (200 * batch) == 0:
            sys.stderr.write(f"{report.inputs:,} inputs, {report.crash_count} crashes\n")
    report.seconds = time.monotonic() - started
    return report


async def _feed(parts: Parts, records: Sequence[FakeRecord], report: FuzzReport) -> None:
    """One micro-batch, to the point where the broker would get it; raises what breaks."""
    outcome = await recommend(parts, records)
    reasons = []
    for letter in outcome.dead_letters:
        made = dead_letter_message(letter.error, letter.record, MOST_BYTES)
        told = read_dead_letter(made.headers)
        reason = told["nextclick-reason"]
        assert reason == letter.error.reason
        assert reason in REASONS, f"the reason {reason!r} is not of the closed list"
        assert told["nextclick-detail"], "a refusal without a sentence"
        reasons.append(reason)
    for found in outcome.lists:
        assert decode_recommendation(encode_recommendation(found)).rec_id == found.rec_id
        found.user_id.encode()  # the key of the record
    await parts.store.keep(outcome.lists)
    report.refused.update(reasons)
    report.lists += len(outcome.lists)


async def _find_culprits(parts: Parts, records: Sequence[FakeRecord], report: FuzzReport) -> None:
    culprits = 0
    for record in records:
        try:
            await _feed(parts, [record], report)
        except Exception as error:
            culprits += 1
            _note_crash(report, error, [record])
    if not culprits:
        try:
            await _feed(parts, records, FuzzReport())
        except Exception as error:
            # None alone: it takes the records together.
            _note_crash(report, error, records)


def _note_crash(report: FuzzReport, error: Exception, records: Sequence[FakeRecord]) -> None:
    report.crash_count += 1
    if len(report.crashes) < SHOWN_CRASHES:
        report.crashes.append(
            {
                "error": f"{type(error).__name__}: {error}"[:500],
                "records": len(records),
                "value_base64": base64.b64encode((records[0].value or b"")[:2_000]).decode(),
            }
        )


async def run(count: int, seed: int) -> dict[str, Any]:
    """The run on parts of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as redis:
        bundle = Path(folder) / "bundle"
        tiny_bundle(bundle, ITEM_IDS)
        items = [
            Item(item_id=each, title=each.replace("-", " "), category=("all",))
            for each in ITEM_IDS[:-5]
        ]
        async with open_parts(redis.url, items, bundle=load_bundle(bundle)) as parts:
            report = await fuzz(parts, FuzzInputs(seed), count)
            memory = (await parts.store.redis.info("memory"))["used_memory"]
    rss = psutil.Process().memory_info().rss
    return report.figures() | {
        "rss_mb": round(rss / 2**20),
        "redis_mb": round(memory / 2**20),
    }


def guided_run(runs: int, seed: int) -> dict[str, Any]:
    """What atheris found in ``runs`` inputs of its own making for the decoder."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.fuzz_decoder", f"-atheris_runs={runs}",
                f"-seed={seed}", "-max_len=4096", "-verbosity=0", str(corpus),
            ],
            capture_output=True,
            text=True,
            errors="replace",
        )  # fmt: skip
    crashed = done.returncode != 0
    return {
        "inputs": runs,
        "crashes": int(crashed),
        "seconds": round(time.monotonic() - started, 1),
        "last_words": done.stderr[-3_000:] if crashed else "",
    }


def main() -> None:
    """Run and print one JSON object, or with no ``--json`` a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--atheris", type=int, default=0, metavar="INPUTS")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args()
    # An odd input may be worth a log line in a worker; here it is the job.
    logging.disable(logging.WARNING)
    figures = asyncio.run(run(asked.inputs, asked.seed))
    if asked.atheris:
        figures["atheris"] = guided_run(asked.atheris, asked.seed)
    figures |= {
        "seed": asked.seed,
        "machine": f"{psutil.cpu_count()} cores, {platform.processor() or platform.machine()}",
    }
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        sys.stdout.writelines(f"{name:20}{value}\n" for name, value in figures.items())
    if figures["crashes"] or figures.get("atheris", {}).get("crashes"):
        sys.exit(1)


if __name__ == "__main__":
    main()
