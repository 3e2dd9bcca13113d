"""The verbs of ``nextclick dlq``: look at dead letters and send them back."""

import asyncio
import sys
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args

import msgspec
import typer

from model.events import Reason
from stream.cli_output import Json, err, out, say
from stream.deadletter import Place
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.deadletter import StoredDeadLetter

SHOWN_BYTES = 64 * 1024
"""More than a person reads, and less than a terminal chokes on."""

dlq = typer.Typer(
    help="Look at dead letters, the records that no worker could take, and send them back.",
    epilog="Example: `nextclick dlq list`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only those with this reason.", show_default=False)
]


@dlq.command("list", epilog="Example: `nextclick dlq list --reason invalid --limit 50`")
def list_verb(
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0: all there are.")] = 20,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first, without what they hold.

    The whole dead-letter topic is read for it. Times are UTC.
    """
    from rich.table import Table
    from rich.text import Text

    from stream.dlq import list_dead_letters

    _check_reason(reason)
    found = asyncio.run(list_dead_letters(Settings(), reason=reason, limit=limit))
    shown = [
        {
            "place": str(each.place),
            "partition": each.place.partition,
            "offset": each.place.offset,
            "reason": each.reason,
            "source": each.source,
            "time": _clock(each.time),
            "bytes": each.size,
            "redriven": each.is_redriven,
        }
        for each in found.entries
    ]
    if as_json:
        say(True, {"dead_letters": shown, "matching": found.matching, "others": found.others}, "")
        return
    if shown:
        table = Table("place", "reason", "source", "time", "bytes", "sent back")
        for each in shown:
            redriven = "yes" if each["redriven"] else ""
            names = "place", "reason", "source", "time", "bytes"
            table.add_row(*[Text(safe_text(str(each[name]))) for name in names], redriven)
        out.print(table, soft_wrap=False)
    say(False, {}, f"{found.matching:,} dead letters, {len(shown):,} shown")
    if found.others:
        err.print(f"{found.others:,} records of the topic are no dead letters of nextclick")


@dlq.command("show", epilog="Example: `nextclick dlq show 3:17`")
def show(
    place: Annotated[
        str, typer.Argument(help="PARTITION:OFFSET, as the list has it.", show_default=False)
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original value alone, byte for byte.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter: what was wrong, and the record as it came.

    JSON is indented; whatever a terminal might obey instead of showing is escaped.
    """
    from stream.dlq import find_dead_letter

    letter = asyncio.run(find_dead_letter(Settings(), _place(place)))
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
        return
    say(as_json, _machine(letter), _page(letter))


@dlq.command("redrive", epilog="Example: `nextclick dlq redrive --reason processing_failed`")
def redrive_verb(
    places: Annotated[
        list[str] | None,
        typer.Argument(help="PARTITION:OFFSET, as the list has them.", show_default=False),
    ] = None,
    reason: ReasonOption = None,
    every: Annotated[bool, typer.Option("--all", help="All that were not sent back yet.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to the topics of events that they are from, exactly as they came.

    Key, value and headers are the original ones, and the header `nextclick-redriven` names the
    dead letter. What was sent back is noted in the dead-letter topic: `--reason` and `--all` leave
    it out from then on, and a place that you name is sent again. Sending twice is harmless, for
    profiles are sets of events. What still breaks the contract comes back as a new dead letter.
    The workers' consumer group is never touched.
    """
    from stream.redrive import redrive

    _check_reason(reason)
    if bool(places) + (reason is not None) + every != 1:
        raise typer.BadParameter("name dead letters (PARTITION:OFFSET), or give --reason or --all")
    report = asyncio.run(
        redrive(
            Settings(),
            places={_place(each) for each in places or ()},
            reason=reason,
            dry_run=dry_run,
        )
    )
    done = "would be sent" if dry_run else "sent"
    topics = "`, `".join(Settings().source_topics)
    sentence = f"{report.sent:,} records {done} to `{topics}`"
    if report.already:
        sentence += f", {report.already:,} left out that were sent before"
    if report.elsewhere:
        sentence += f", {report.elsewhere:,} left out that came from another topic"
    if report.truncated:
        sentence += f", {report.truncated:,} left out that hold a part of their record only"
    say(as_json, report._asdict() | {"dry_run": dry_run}, sentence)


def _place(text: str) -> Place:
    try:
        return Place.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _check_reason(reason: str | None) -> None:
    known = get_args(Reason)
    if reason is not None and reason not in known:
        raise typer.BadParameter(f"{reason!r} is no reason; use one of {', '.join(known)}")


def _clock(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a clock that was far off
        return f"{time_ms} ms"


def _machine(letter: "StoredDeadLetter") -> dict[str, Any]:
    """Bytes in base64, for they may be anything."""
    return {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "time": _clock(letter.time),
        "reason": letter.reason,
        "detail": letter.detail,
        "truncated": letter.is_truncated,
        "source": f"{letter.topic}:{letter.partition}:{letter.offset}",
        "key_base64": None if letter.key is None else b64encode(letter.key).decode(),
        "value_base64": None if letter.value is None else b64encode(letter.value).decode(),
        "headers_base64": [
            [name, b64encode(value or b"").decode()] for name, value in letter.headers
        ],
    }


def _page(letter: "StoredDeadLetter") -> str:
    lines = [
        f"dead letter  {letter.place}, written {_clock(letter.time)}",
        f"reason       {letter.reason}",
        f"detail       {safe_text(letter.detail)}",
        f"from         {letter.topic}:{letter.partition}:{letter.offset}",
        f"key          {'none' if letter.key is None else readable(letter.key) or 'empty'}",
    ]
    for name, value in letter.headers:
        lines.append(f"header       {safe_text(name)}: {readable(value or b'')}")
    if letter.is_truncated:
        lines.append("truncated    a part of the record; the whole one is where it came from")
    if letter.value is None:
        return "\n".join([*lines, "value        null"])
    lines.append(f"value        {len(letter.value):,} bytes")
    if len(letter.value) > SHOWN_BYTES:
        lines[-1] += f", the first {SHOWN_BYTES:,} of them below; --raw writes all"
    return "\n".join([*lines, readable(letter.value[:SHOWN_BYTES], indent=2)])


def readable(data: bytes, *, indent: int = -1) -> str:
    """Any bytes as text that a terminal only shows; JSON is indented by ``indent``, -1: not."""
    if indent >= 0:
        # Reformatted, not decoded: doubled keys and long numbers stay what they were.
        with suppress(msgspec.DecodeError, RecursionError):
            data = msgspec.json.format(data, indent=indent)
    return safe_text(data.decode("utf-8", "backslashreplace"), keep_lines=indent >= 0)


def safe_text(text: str, *, keep_lines: bool = False) -> str:
    """Control, format and other invisible characters as JSON escapes."""
    visible = "\n" if keep_lines else ""
    return "".join(
        each if each.isprintable() or each in visible else _escaped(each) for each in text
    )


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
