"""A verdict as tables: for a terminal, and as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

if TYPE_CHECKING:
    from model.assessment import Assessment
    from model.intervals import Interval
    from model.past_counts import CountsTuning
    from model.prequential import Worth

WHAT = {
    "next-basket": "next baskets",
    "leave-one-out": "last events of users",
    "session": "next events within sessions",
    "prequential": "next events, predicted and then learned",
}
SHOWN = "hit@10", "ndcg@10", "mrr@10"
WORTH = "hit@10", "ndcg@10"
HEADINGS = {"hit": "HR", "recall": "Recall", "ndcg": "NDCG", "mrr": "MRR"}


class Sheet(NamedTuple):
    """A table of text; the first column is the name of the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a page."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = (f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows))
        return "\n".join((f"### {self.title}", "", *lines))


def sheets(found: "Assessment", metrics: Sequence[str] = SHOWN) -> Iterator[Sheet]:
    """All tables of a verdict; of the rank metrics, those asked for."""
    yield Sheet(
        f"{found.cases:,} {WHAT[found.protocol]} (± half the 95% interval)",
        ["", *map(heading, metrics)],
        [
            [name, *(plus_minus(figures.metrics[metric]) for metric in metrics)]
            for name, figures in found.contenders.items()
        ],
    )
    yield Sheet(
        "NDCG@10 of what is served, less that of",
        ["", "mean", "from", "to"],
        [
            [name, *(f"{value:+.4f}" for value in (each.mean, each.low, each.high))]
            for name, each in found.gains.items()
        ],
    )
    names = ["coverage", "gini", "novelty", "diversity", "tail_share"]
    yield Sheet(
        "What the first ten are like",
        ["", "coverage", "Gini", "novelty, bits", "diversity", "tail"],
        [
            [name, *(f"{figures.lists[each]:.3f}" for each in names)]
            for name, figures in found.contenders.items()
        ],
    )
    served = next(iter(found.contenders.values()))
    yield Sheet(
        "NDCG@10 of parts of the answers",
        ["", *(f"{part}, {each.cases:,}" for part, each in served.slices.items())],
        [
            [name, *(plus_minus(each.metrics["ndcg@10"]) for each in figures.slices.values())]
            for name, figures in found.contenders.items()
        ],
    )
    if found.prequential:
        yield Sheet(
            "Where a profile that stands still is another than the live one",
            ["", "cases", "share", *_worth_columns()],
            [
                [f"since the {period} began", f"{each.changed:,}",
                 f"{each.changed / found.cases:.1%}", *_worth_cells(each.where_changed)]
                for period, each in found.prequential.frozen.items()
            ],
        )  # fmt: skip
        yield Sheet(
            "The same over all cases",
            ["", *_worth_columns()],
            [
                [f"since the {period} began", *_worth_cells(each.everywhere)]
                for period, each in found.prequential.frozen.items()
            ],
        )


def notes(found: "Assessment") -> list[str]:
    """What a reader has to know beside the tables."""
    drawn = (
        f"{found.cases:,} of {found.cases_in_log:,} cases, drawn with seed {found.seed}"
        if found.cases < found.cases_in_log
        else f"all {found.cases:,} cases"
    )
    lines = [
        f"{drawn}, of {found.users:,} users from {found.first_day} to {found.last_day}, "
        f"{found.items:,} items; bundle {found.bundle} ({found.precision}).",
        f"Calibration of what is served: a pick is expected in the list in "
        f"{found.calibration.predicted:.3f} of cases and is there in "
        f"{found.calibration.happened:.3f}; expected calibration error "
        f"{found.calibration.ece:.3f}.",
    ]
    lines += [
        f"Probability of {task} of a listed item, by the manifest's scaling: {each.predicted:.3f} "
        f"expected, {each.taken:.3f} taken; expected calibration error {each.ece:.3f}."
        for task, each in found.tasks.items()
    ]
    if found.left_out:
        lines.append(
            f"Sources of the bundle that were not asked: {', '.join(found.left_out)}; `fresh` and "
            "`in_category` need --catalog, of the others a log tells nothing."
        )
    lines.append(_tuned(found.counts_tuning))
    if found.prequential:
        lines.append(
            "Popularity and co-visits follow one schedule (the midnight before) whatever the "
            "profile, so only the profile differs."
        )
    return lines


def _tuned(tuning: "CountsTuning") -> str:
    """How well the baseline of counts was given a chance."""
    if not tuning.trials:
        return "The counts were not tuned: they have their default settings."
    end = (
        "until nothing brought more"
        if tuning.finished
        else f"cut by the budget of {tuning.budget_seconds:g} s and {tuning.budget_trials} trials"
    )
    return (
        f"The counts were tuned on {tuning.cases:,} cases before the judged days: "
        f"{tuning.trials:,} trials in {tuning.seconds:.0f} s, {end}."
    )


def _worth_columns() -> Iterator[str]:
    for metric in WORTH:
        yield from (f"{heading(metric)} live", "frozen", "gain")


def _worth_cells(worth: "Mapping[str, Worth]") -> Iterator[str]:
    for metric in WORTH:
        if each := worth.get(metric):
            yield from (f"{each.live:.4f}", f"{each.frozen:.4f}", f"{each.gain.mean:+.4f} ±"
                        f"{each.gain.margin:.4f}")  # fmt: skip
        else:
            yield from ("", "", "")


def heading(metric: str) -> str:
    """``hit@10`` as tables call it."""
    name, _, cutoff = metric.partition("@")
    return f"{HEADINGS[name]}@{cutoff}"


def plus_minus(each: "Interval") -> str:
    """A mean and half the width of its interval."""
    return f"{each.mean:.4f} ±{each.margin:.4f}"
