"""The folder that ``nextclick evaluate --report`` writes: figures, a page, plots."""

import json
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from stream.evaluation_tables import HEADINGS, notes, sheets
from stream.training import EvaluationError

if TYPE_CHECKING:
    from model.assessment import Assessment

FIGURES, PAGE = "report.json", "report.md"
MEANING = """\
- HR@k: share of cases of which an answer is in the first k. Recall@k: share of the answers. \
NDCG@k: binary gains, discount 1 / log2(1 + rank), over the best possible. MRR@k: one over the \
rank of the first answer. All items are ranked.
- Intervals: 95%, 1,000 bootstrap resamples of users, each with all of its cases.
- Coverage: share of the log's items that some list shows. Gini: how unevenly the places fall on \
items, 0 for evenly. Novelty: mean -log2 of an item's share of the events before the judged days. \
Tail: share of places for items outside the most popular fifth.
- Diversity: mean distance of two items of a list; by category 0 or 1, else 1 - the cosine of the \
sets of users who have dealt with them before the judged days.
- Cold items have fewer than 5 events before the judged days, new users fewer than 3 events of \
history; heavy users are those of the tenth of cases with the longest histories.
- A profile that stands still: the gain of the live one is taken case by case, with its interval; \
elsewhere both profiles, and both lists, are the same.
- Calibration: the softmax over all candidates, summed over the first ten, against the share of \
answers that they hold.
"""


def require_report(folder: Path) -> None:
    """Make sure that a report can be written there, before any work is done.

    Raises:
        EvaluationError: the extra is not installed, or ``folder`` is a file, may not be written
            to, or holds other things than a report.
    """
    if find_spec("matplotlib") is None:
        raise EvaluationError(
            "--report draws plots, which needs matplotlib; run: pip install 'nextclick[report]'"
        )
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(f"{folder} is a file; name a folder for the report")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise EvaluationError(f"{there} may not be written to; name another folder for the report")
    if folder.exists() and any(folder.iterdir()) and not (folder / FIGURES).is_file():
        raise EvaluationError(f"{folder} holds other things than a report; name another folder")


def write_report(found: "Assessment", folder: Path, command: str) -> list[Path]:
    """Write ``report.json``, ``report.md`` and the plots; files of an older report are replaced.

    Everything is made before the first file is put in its place.

    Raises:
        EvaluationError: see ``require_report``.
    """
    require_report(folder)
    from stream.report_plots import plots

    pictures = plots(found)
    contents = {
        FIGURES: (json.dumps(msgspec.to_builtins(found), indent=1) + "\n").encode(),
        PAGE: page(found, list(pictures), command).encode(),
        **pictures,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for stale in folder.glob("*.png"):
            stale.unlink()
        for name in contents:
            (staging / name).replace(folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [folder / name for name in contents]


def page(found: "Assessment", pictures: list[str], command: str) -> str:
    """The report as Markdown."""
    metrics = [f"{name}@{cutoff}" for name in HEADINGS for cutoff in (5, 10, 20)]
    parts = [
        f"# {found.protocol} of bundle {found.bundle}",
        f"`{command}`",
        *notes(found),
        *(sheet.markdown() for sheet in sheets(found, metrics)),
        *(f"![{Path(name).stem}]({name})" for name in pictures),
        "## What the figures mean",
        MEANING,
    ]
    return "\n\n".join(parts)
