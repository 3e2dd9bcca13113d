"""The verb ``nextclick recommend``."""

import asyncio
import sys
import unicodedata
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli_output import BundleOption, Json, ProviderOption, err, out
from stream.settings import Settings, override_environment

if TYPE_CHECKING:
    from rich.table import Table

    from serving.explanation import ExplainedItem, Explanation
    from serving.recommendation import Recommendation

LOSSES_SHOWN = 5
"""Of each item, in the table; the JSON object has all."""


def recommend(
    user: Annotated[str, typer.Argument(help="User id.", show_default=False)],
    query: Annotated[
        str | None,
        typer.Option(
            "--query", help="Make the list that this search would get now.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show where each score comes from, what it loses without each item that the user "
            "dealt with (found out by removing them), and the time of each step.",
        ),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of the reasons: `en`, `zh`.", show_default=False),
    ] = None,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    as_json: Json = False,
) -> None:
    """Show the list that a user would get now, from live state; nothing is published or changed.

    A user of whom nothing is known gets what somebody new gets, and standard error says so.
    """
    import msgspec

    from stream.look_up import look_into, look_up

    override_environment({"bundle": bundle, "provider": provider, "reason_languages": language})
    settings = Settings()
    if explain:
        explained, opened_ms = asyncio.run(look_into(settings, user, query))
        _tell_unknown(user, explained.is_known)
        if as_json:
            _write(
                msgspec.json.encode({"opened_ms": opened_ms, **msgspec.structs.asdict(explained)})
            )
            return
        _print(_list_table(user, explained.list))
        _print(_explanation_table(explained))
        _print(_steps_table(explained, opened_ms))
        return
    found = asyncio.run(look_up(settings, user, query))
    _tell_unknown(user, found.is_known)
    if as_json:
        _write(msgspec.json.encode(found.list))
    else:
        _print(_list_table(user, found.list))


def _tell_unknown(user: str, is_known: bool) -> None:
    if not is_known:
        err.print(
            f"nothing is known of {_plain(user)}: this is what somebody new gets",
            markup=False, highlight=False,
        )  # fmt: skip


def _list_table(user: str, found: "Recommendation") -> "Table":
    asked = "" if found.query is None else f", who searches for “{found.query}”"
    table = _table(f"for {user}{asked}", "rank", "item", "score", "source", "reason")
    for item in found.items:
        _add(
            table,
            item.rank,
            item.item_id,
            f"{item.score:.3f}",
            ", ".join(item.sources),
            item.reason,
        )
    return table


def _explanation_table(explained: "Explanation") -> "Table":
    names = list(explained.items[0].parts) if explained.items else []
    matches = any(each.match for each in explained.items)
    table = _table(
        f"where scores come from (interactions {explained.interactions}, purchases "
        f"{explained.purchases}, searches {explained.searches})",
        "rank", "title", *names, *(["match"] if matches else []), "lost without",
    )  # fmt: skip
    for rank, item in enumerate(explained.items, start=1):
        match = [f"{item.match:.2f}"] if matches else []
        parts = [f"{item.parts[name]:+.3f}" for name in names]
        _add(table, rank, item.title or item.item_id, *parts, *match, _told_losses(item))
    return table


def _told_losses(item: "ExplainedItem") -> str:
    """The greatest ones, for and against."""
    ordered = sorted(item.losses, key=lambda each: abs(each.amount), reverse=True)
    lines = [
        f"{each.amount:+.3f} {each.title or each.item_id or 'an item that is no longer there'}"
        for each in ordered[:LOSSES_SHOWN]
    ]
    if len(ordered) > LOSSES_SHOWN:
        lines.append(f"and {len(ordered) - LOSSES_SHOWN} more")
    return "\n".join(lines)


def _steps_table(explained: "Explanation", opened_ms: dict[str, float]) -> "Table":
    table = _table("milliseconds", "step", "time")
    steps = {
        **{f"open {name}": spent for name, spent in opened_ms.items()},
        **explained.list.step_ms,
        "taking the list to pieces": explained.explain_ms,
    }
    for name, spent in steps.items():
        _add(table, name, f"{spent:.2f}")
    return table


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(_plain(title)))
    for name in columns:
        # An id that is cut or wrapped can be copied by nobody.
        table.add_column(name, overflow="fold")
    return table


def _add(table: "Table", *cells: object) -> None:
    from rich.text import Text

    # Texts of a catalogue are no markup.
    table.add_row(*(Text(_plain(str(cell))) for cell in cells))


def _print(table: "Table") -> None:
    out.print(table, soft_wrap=False)


def _plain(text: str) -> str:
    """Without control characters, by which a title could write anywhere on a terminal."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) == "Cc" and each != "\n" else each
        for each in text
    )


def _write(data: bytes) -> None:
    sys.stdout.write(data.decode() + "\n")
