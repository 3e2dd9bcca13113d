"""What a run came to, as a table for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.differences import Differences

REDELIVERIES_PER_FAULT = 5
"""Fewer than that, 1,000 in a run of 200 faults, and the run was too tame to prove anything."""


@dataclass(frozen=True)
class Report:
    """The figures of a run."""

    backend: str
    seed: int
    partitions: int
    workers_started: int
    events: int
    copies: int
    garbage: int
    lists: int
    users: int
    faults: dict[str, int]
    redeliveries: int
    differences: list[Differences]
    deaths: list[str]
    """Of workers that died by themselves: a sentence each."""
    failures: list[str]
    """What went wrong with the run itself, a lag that is left among it."""
    recovery_s: dict[str, float | None]
    seconds: float
    events_per_s: float

    @property
    def redeliveries_due(self) -> int:
        """Fewer are too tame."""
        return REDELIVERIES_PER_FAULT * sum(self.faults.values())

    @property
    def verdicts(self) -> list[str]:
        """A sentence for everything that makes the run red."""
        found = [
            f"{each.count} differences in {each.check}" for each in self.differences if each.count
        ]
        found += [f"a worker died: {death}" for death in self.deaths]
        found += self.failures
        if self.redeliveries < self.redeliveries_due:
            found.append(
                f"too tame: {self.redeliveries} redeliveries, {self.redeliveries_due} are the least"
            )
        return found

    @property
    def is_green(self) -> bool:
        """Whether nothing is wrong."""
        return not self.verdicts

    @property
    def red_checks(self) -> set[str]:
        """The checks that found differences."""
        return {each.check for each in self.differences if each.count}

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            **asdict(self),
            "redeliveries_due": self.redeliveries_due,
            "differences_total": sum(each.count for each in self.differences),
            "verdicts": self.verdicts,
            "green": self.is_green,
        }


def show(report: Report, console: Console) -> None:
    """Print the table and, where it is red, what is wrong."""
    table = Table(title=f"chaos: {report.backend}, seed {report.seed}", show_header=False)
    rows: Sequence[tuple[str, str]] = [
        ("records", f"{report.events:,} ({report.copies:,} copies, {report.garbage:,} garbage)"),
        ("users", f"{report.users:,}"),
        ("lists", f"{report.lists:,}"),
        ("faults", f"{sum(report.faults.values()):,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in report.faults.items()),
        ("redeliveries", f"{report.redeliveries:,} (at least {report.redeliveries_due:,})"),
        ("differences", f"{sum(each.count for each in report.differences):,}"),
        *(
            (f"  {each.check}", f"{each.count:,} of {each.compared:,}")
            for each in report.differences
        ),
        ("workers started", f"{report.workers_started}, {len(report.deaths)} died by themselves"),
        ("recovery p50 / max", f"{report.recovery_s['p50']} s / {report.recovery_s['max']} s"),
        ("seconds", f"{report.seconds:,.0f} ({report.events_per_s:,.0f} events/s)"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    for each in report.differences:
        for sample in each.samples:
            console.print(f"[red]{each.check}[/red]: {escape(sample)}")
    for verdict in report.verdicts:
        console.print(f"[red]RED[/red] {escape(verdict)}")
    if report.is_green:
        console.print("[green]GREEN[/green]: nothing lost, nothing doubled, nothing different")
