"""The plots of a report; the only room that loads matplotlib (the extra ``report``)."""

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from stream.evaluation_tables import heading

if TYPE_CHECKING:
    from model.assessment import Assessment

METRICS = "hit@10", "ndcg@10", "mrr@10"
DOTS_PER_INCH = 110


def plots(found: "Assessment") -> dict[str, bytes]:
    """File name -> PNG."""
    drawings: dict[str, Callable[[Assessment], Figure]] = {
        "metrics.png": _metrics,
        "coverage_novelty.png": _coverage_novelty,
        "reliability.png": _reliability,
    }
    if found.prequential:
        drawings["prequential.png"] = _prequential
    return {name: _png(draw(found)) for name, draw in drawings.items()}


def _png(figure: Figure) -> bytes:
    # A Figure of its own, not pyplot's: nothing global, and no screen is looked for.
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS_PER_INCH)
    return stream.getvalue()


def _metrics(found: "Assessment") -> Figure:
    """Each contender's metrics with their intervals."""
    names = list(found.contenders)
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(METRICS), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, METRICS, strict=True):
        values = [found.contenders[name].metrics[metric] for name in names]
        means = [each.mean for each in values]
        panel.errorbar(
            means,
            range(len(names)),
            xerr=[
                [each.mean - each.low for each in values],
                [each.high - each.mean for each in values],
            ],
            fmt="o",
            capsize=3,
        )
        panel.set_title(heading(metric))
        panel.set_xlim(left=0)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle(f"{found.protocol}, {found.cases:,} cases, {found.level:.0%} intervals")
    return figure


def _coverage_novelty(found: "Assessment") -> Figure:
    """How much of the catalogue is shown, and how little known it is."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    panel = figure.subplots()
    for name, figures in found.contenders.items():
        x, y = figures.lists["coverage"], figures.lists["novelty"]
        panel.scatter(x, y, s=30 + 600 * figures.metrics["ndcg@10"].mean, alpha=0.6, label=name)
    panel.set_xlabel("coverage of the catalogue by the first ten")
    panel.set_ylabel("novelty, bits")
    panel.set_title("The larger, the higher NDCG@10")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small", markerscale=0.5)
    return figure


def _reliability(found: "Assessment") -> Figure:
    """What was expected against what happened."""
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    panel = figure.subplots()
    bins = found.calibration.bins
    panel.plot([0, 1], [0, 1], color="grey", linewidth=1)
    panel.plot([each.predicted for each in bins], [each.happened for each in bins], "o-")
    for each in bins:
        panel.annotate(
            f"{each.cases:,}",
            (each.predicted, each.happened),
            textcoords="offset points",
            xytext=(6, -10),
            fontsize="small",
        )
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_xlabel("probability that the list holds the next pick")
    panel.set_ylabel("how often it did")
    panel.set_title(f"Reliability; expected calibration error {found.calibration.ece:.3f}")
    panel.grid(alpha=0.3)
    return figure


def _prequential(found: "Assessment") -> Figure:
    """HR@10 day by day, by how fresh the profile is."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    panel = figure.subplots()
    days = found.prequential.days if found.prequential else []
    places = range(len(days))
    for label, values in (
        ("live", [each.live for each in days]),
        ("frozen each hour", [each.hour for each in days]),
        ("frozen each day", [each.day for each in days]),
    ):
        panel.plot(places, values, "o-", markersize=3, label=label)
    step = max(1, len(days) // 12)
    panel.set_xticks(
        list(places)[::step], [each.date for each in days[::step]], rotation=30, ha="right"
    )
    panel.set_ylim(bottom=0)
    panel.set_ylabel("HR@10 of the next event")
    panel.set_title("What a live profile is worth, day by day")
    panel.grid(alpha=0.3)
    panel.legend()
    return figure
