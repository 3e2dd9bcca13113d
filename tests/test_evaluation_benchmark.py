"""The benchmark of ranking all items runs, small, on made-up prefixes and on a folder's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation import LENGTH_SHARES, made_up, main

SMALL = "--length=8", "--dim=16", "--threads=1", "--json"


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main([*SMALL, *arguments])
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    found: dict[str, Any] = json.loads(told)
    return found


def test_every_prefix_is_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, "--prefixes=300", "--items=400")
    assert (found["prefixes"], found["items"], found["ranked"]) == (300, 400, 300)
    assert not found["real_prefixes"]
    for name in ("seconds", "bare_seconds", "cases_per_s", "ratio", "peak_mib"):
        assert found[name] > 0


def test_a_folder_s_prefixes_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sessions = "\n".join(f"{first} {first + 1} {first + 2}" for first in range(1, 30))
    (tmp_path / "train_sessions.txt").write_text(sessions + "\n", encoding="utf-8")
    (tmp_path / "test_prefix_target.txt").write_text("1 2 3\t4\n1 2\t3\n1\t2\n", encoding="utf-8")
    found = figures(capsys, f"--data={tmp_path}")
    assert (found["prefixes"], found["items"], found["ranked"]) == (3, 31, 3)
    assert found["real_prefixes"]


def test_made_up_prefixes_have_the_lengths_of_the_real_ones() -> None:
    cases = made_up(20_000, 50, seed=1)
    shares = np.bincount(cases.histories.lengths, minlength=21)[1:21] / len(cases)
    assert np.abs(shares - LENGTH_SHARES).max() < 0.02
    assert made_up(50, 50, seed=1).targets.tolist() == made_up(50, 50, seed=1).targets.tolist()
