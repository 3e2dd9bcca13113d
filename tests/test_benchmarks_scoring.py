"""The benchmark of scoring: our ranker, the raw session and torch rank the same users alike."""

from pathlib import Path

import pytest

from benchmarks.scoring import Rounds, _lowest_by_processor
from tests.cuda_device import HAS_DEVICE
from tests.printed_figures import figures_of, run_benchmark


def test_all_contenders_rank_alike_and_are_timed(tmp_path: Path) -> None:
    figures = figures_of(
        "scoring", "--rounds=1", "--seconds=0.01", "--items=200", "--batches=1,4",
        "--contenders=ranker,histories,variant,raw,eager", f"--plots={tmp_path}",
    )  # fmt: skip
    assert set(figures["by_batch"]) == {"1", "4"}
    for each in figures["by_batch"].values():
        # The last of two equal scores may change places, a wrong graph would share none.
        same = each["same_best_20_as_ranker"]
        assert same.pop("variant") <= 1.0
        assert same == {"raw": 1.0, "histories": 1.0, "eager": pytest.approx(1.0, abs=0.5)}
        assert set(each["us_per_user"]) == set(each["cpu_us_per_user"]) == set(figures["rss_mb"])
        assert min(each["us_per_user"].values()) > 0
    lowest = min(each["ranker_vs_raw"] for each in figures["by_batch"].values())
    assert figures["ranker_vs_raw"] == lowest > 0
    for kind in ("histories", "variant"):
        assert figures[f"{kind}_vs_raw"] > 0
        assert figures["by_processor_time"][f"{kind}_vs_raw"] > 0
    assert (tmp_path / "scoring.png").read_bytes().startswith(b"\x89PNG")


def test_processor_time_is_compared_round_by_round() -> None:
    """In the second round the machine was slow, and the raw session had its worst turn."""

    def answers(*milliseconds: float) -> list[dict[str, float]]:
        return [{"cpu_ms": each} for each in milliseconds]

    rounds: Rounds = {
        "ranker": {1: answers(2, 4, 2), 8: answers(1, 1, 1)},
        "raw": {1: answers(1, 3, 2), 8: answers(2, 2, 2)},
    }
    assert _lowest_by_processor(rounds, "ranker") == 0.75  # of 0.5, 0.75 and 1; of the medians, 1


@pytest.mark.parametrize(
    ("contenders", "told"),
    [
        (
            "ranker,raw,tensorflow",
            "there is no tensorflow; there are ranker, histories,",
        ),
        ("raw,eager", "--contenders needs ranker and raw"),
    ],
)
def test_contenders_that_cannot_be_compared_are_refused(contenders: str, told: str) -> None:
    run = run_benchmark("scoring", "--items=200", f"--contenders={contenders}")
    assert run.returncode == 2
    assert told in run.stderr


@pytest.mark.skipif(HAS_DEVICE, reason="this machine has a CUDA device")
@pytest.mark.parametrize("contenders", ["ranker,raw", "captured,ranker,raw"])
def test_without_a_device_cuda_is_refused_with_a_sentence(contenders: str) -> None:
    run = run_benchmark("scoring", "--provider=cuda", "--items=200", f"--contenders={contenders}")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "benchmarks.scoring: " in run.stderr
    assert "ask for the CPU with `--provider cpu`" in run.stderr
    assert "Traceback" not in run.stderr
