"""What ``nextclick evaluate`` does: files in, a verdict on a bundle out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.lines import PACKINGS
from stream.rows import FORMATS, BadRow
from stream.training import EvaluationError, first_judged_day

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.assessment import Assessment
    from model.bundle import Bundle, Precision
    from model.dataset import EventLog
    from model.items import Item
    from model.mapping import Mapping

PREQUENTIAL_CASES = 20_000
"""A day's hit rate is then known to a few percent, and a walk takes minutes on two cores."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What a person asks for."""

    protocol: str
    since: date | None
    """First day to judge; None for the first that training has not seen."""
    cases: int | None
    """At most so many; None for all, of a prequential walk ``PREQUENTIAL_CASES``."""
    seed: int
    tune_seconds: float
    """To tune the counts in; 0 leaves their settings alone."""
    precision: "Precision" = "fp32"
    diversity: float | None = None
    """Of the lists, from 0 to 1; None for what the bundle says."""


def evaluate_bundle(
    bundle: "Bundle",
    log: "EventLog",
    request: EvaluationRequest,
    catalogue: Sequence[Path] = (),
    mapping: "Mapping | None" = None,
    *,
    report: Callable[[BadRow], None],
    progress: Callable[[str, float], None],
) -> "Assessment":
    """Judge a bundle's lists by a protocol, beside the baselines it has to beat.

    Args:
        bundle: its shipped ONNX graph is judged.
        log: what to serve from and to predict.
        request: how.
        catalogue: item files, whose categories tell how diverse a list is, and by which a bundle
            with an item tower scores what it has not learned.
        mapping: of the event files; of the item files too, where it makes items.
        report: gets each row of those that breaks the contract.
        progress: called with a text and the share that is done.

    Raises:
        EvaluationError: the bundle has learned from those days, or they hold no case.
        model.bundle.BundleError: the bundle holds no graph of the precision.
        stream.rows.RowsError: a catalogue file cannot be read.
    """
    from model.assessment import TUNING, NothingToJudge, Request, assess
    from model.choice import Budget
    from model.protocols import PREQUENTIAL
    from stream.catalogue_files import catalogue_items

    items = catalogue_items(catalogue, report, mapping)
    start = first_judged_day(bundle.manifest, request.since)
    cases = request.cases
    if cases is None and request.protocol == PREQUENTIAL:
        cases = PREQUENTIAL_CASES
    asked = Request(
        request.protocol,
        start.milliseconds,
        cases=cases,
        seed=request.seed,
        tuning=Budget(seconds=request.tune_seconds, trials=TUNING.trials),
        precision=request.precision,
        categories=_categories(items, catalogue, log) if catalogue else None,
        items=items,
        diversity=request.diversity,
    )
    try:
        return assess(bundle, log, asked, progress)
    except NothingToJudge:
        what = {
            "next-basket": "basket",
            "leave-one-out": "event",
            "session": "second event of a session",
            "prequential": "event",
        }[request.protocol]
        raise EvaluationError(
            f"there is no {what} to predict from {start} on; give a log that goes further, "
            "or an earlier day with --since"
        ) from None


def evaluated(found: "Assessment") -> dict[str, Any]:
    """The verdict for machines; ``metrics`` holds the means alone, by contender."""
    import msgspec

    means = {
        name: {metric: each.mean for metric, each in figures.metrics.items()}
        for name, figures in found.contenders.items()
    }
    whole: dict[str, Any] = msgspec.to_builtins(found)
    return whole | {"metrics": means}


def event_files(files: Sequence[Path], data: Sequence[Path]) -> list[Path]:
    """The files that were named, and those of the named folders that are of a known format.

    Raises:
        EvaluationError: none was named, or a folder holds none.
    """
    found = list(files)
    for path in data:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(each for each in path.iterdir() if each.is_file() and _is_known(each))
        if not inside:
            raise EvaluationError(
                f"{path} holds no event file; name a folder with {', '.join(FORMATS)} files"
            )
        found += inside
    if not found:
        raise EvaluationError("there is nothing to judge on; name event files, or --data FOLDER")
    return found


def _is_known(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKINGS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in FORMATS


def _categories(
    items: "Sequence[Item]", paths: Sequence[Path], log: "EventLog"
) -> "NDArray[np.int64]":
    """A number for each item's whole category, -1 where none is known."""
    import numpy as np

    places = {item_id: place for place, item_id in enumerate(log.item_ids)}
    numbers: dict[tuple[str, ...], int] = {}
    categories = np.full(len(places), -1, np.int64)
    for item in items:
        place = places.get(item.item_id)
        if place is not None and item.category:
            categories[place] = numbers.setdefault(item.category, len(numbers))
    if not numbers:
        raise EvaluationError(
            f"no item of the log has a category in {', '.join(map(str, paths))}; "
            "leave out --catalog to take co-occurrence instead"
        )
    return categories
