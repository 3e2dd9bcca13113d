"""What the verbs of the command line share: options, exit statuses, and how they speak."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from model.mapping import Mapping
    from stream.replay.bad_records import Bad
    from stream.rows import DamagedFileError
    from stream.settings import Settings

MENDABLE = 2
"""Exit status of a run that could not do its work: the person has to mend something."""
INCOMPLETE = 1
"""Exit status of a run that did its work, and left out or found what is wrong."""

# Ids and queries are a shop's own: `:100:` in one is no emoji.
out = Console(soft_wrap=True, emoji=False)
err = Console(stderr=True, soft_wrap=True, emoji=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Folder of the model bundle.", show_default=False)
]
ProviderOption = Annotated[
    str | None,
    typer.Option("--provider", help="Execution provider: `cuda` or `cpu`.", show_default=False),
]
Pseudonymise = Annotated[
    bool,
    typer.Option(
        "--pseudonymise",
        help="Put no user id into Redis and logs; needs NEXTCLICK_USER_HASH_SECRET.",
    ),
]
Files = Annotated[
    list[Path],
    typer.Argument(help="JSONL or CSV (plain, .gz, .zst) or Parquet files.", show_default=False),
]

MappingOption = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        help="Ready mapping by name, or TOML file, of files that hold no events of ours, and of "
        "--catalog if it makes items.",
        show_default=False,
    ),
]


class BadRows:
    """Counts the rows that were left out and shows the first of them on standard error."""

    SHOWN = 100

    def __init__(self) -> None:
        self.count = 0

    def report(self, row: "Bad | DamagedFileError") -> None:
        """Take one row or record that was left out, or the rest of a file."""
        self.count += 1
        if self.count <= self.SHOWN:
            err.print(str(row), markup=False, highlight=False)
        elif self.count == self.SHOWN + 1:
            err.print("more rows were left out; they are counted and not shown")

    def exit(self) -> None:
        """End with status 1 where rows were left out."""
        if self.count:
            raise typer.Exit(INCOMPLETE)


def mapping_named(name: str | None) -> "Mapping | None":
    """The mapping of a `MappingOption`. Raises MappingError."""
    from model.mapping import Mapping

    return None if name is None else Mapping.named(name)


def say(as_json: bool, machine: dict[str, Any], person: str) -> None:
    """One JSON object for machines, or a sentence for a person."""
    if as_json:
        sys.stdout.write(json.dumps(machine, ensure_ascii=False) + "\n")
    else:
        out.print(person, markup=False, highlight=False)


def tell_settings(settings: "Settings", as_json: bool) -> None:
    """Every setting and where it comes from."""
    from stream.shown_settings import shown_settings

    shown = shown_settings(settings)
    width = max(len(each.name) for each in shown)
    lines = [
        f"{each.name:{width}}  {'' if each.value is None else each.value}"
        f"  ({f'{each.origin} {each.place}'.rstrip()})"
        for each in shown
    ]
    say(as_json, {"settings": [each._asdict() for each in shown]}, "\n".join(lines))
