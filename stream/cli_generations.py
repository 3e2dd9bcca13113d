"""The verbs of ``nextclick replay`` for generations: compare, cutover, rollback, drop, status."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli_output import INCOMPLETE, Json, err, say
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.replay.compare import Comparison
    from stream.replay.cutover import Flip

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def status(as_json: Json = False) -> None:
    """Say which generations of profiles there are, which is live, and about how large they are."""
    from stream.replay.generations import opened, pointer_as_json
    from stream.replay.status import states_of

    async def look() -> None:
        async with opened(Settings()) as (parts, generations):
            pointer, states = await states_of(parts.store, generations)
        lines = [
            f"generation {each.number} ({each.role}): {'about ' if each.is_estimate else ''}"
            f"{each.users:,} users, {each.bytes_each:,} bytes each"
            for each in states
        ]
        machine = pointer_as_json(pointer)
        machine["generations"] = [each._asdict() for each in states]
        say(as_json, machine, "\n".join(lines))

    asyncio.run(look())


def compare(
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Differences to show, of profiles and of counts.")
    ] = 10,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Look at this user only, by id.", show_default=False),
    ] = None,
    generation: Annotated[
        int | None,
        typer.Option(
            "--with",
            min=0,
            help="Generation to compare the live one with: the shadow, where it is not given, or "
            "the previous one.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the live profiles and shared counts with those of the shadow.

    Profiles have to be equal byte for byte, counts up to rounding (1e-9 of a weight). Times to
    live do not matter. A user whom the stream has served since the shadow's last checkpoint
    differs by those events: compare where the stream is quiet, or right after a cutover. The exit
    status is 1 where something differs.
    """
    from serving.generations import GenerationError
    from stream.replay.compare import Comparing
    from stream.replay.generations import opened

    async def look() -> "Comparison | None":
        async with opened(Settings()) as (parts, generations):
            pointer = await generations.read()
            other = generation
            if other is None:
                other = pointer.previous if pointer.building is None else pointer.building
            if other is None or other == pointer.live:
                raise GenerationError(
                    f"generation {pointer.live} is live, and there is no other one to compare it "
                    "with; build a shadow with `nextclick replay ... --into shadow`"
                )
            one, two = (parts.for_past(each) for each in (pointer.live, other))
            with err.status("comparing") as told:
                comparing = Comparing(
                    (one.store, one.counts),
                    (two.store, two.counts),
                    sample=sample,
                    told=lambda users: told.update(f"{users:,} users compared"),
                )
                if user is None:
                    return await comparing.all()
                found = await comparing.user(user)
            where = "" if found is None else f"only in generation {other}: {found}"
            if found is not None and found.is_in_first:
                where = f"only in generation {pointer.live}: {found}"
            difference = None if found is None else found._asdict()
            say(as_json, {"user": user, "difference": difference}, f"{user}: {where or 'equal'}")
            if found is not None:
                raise typer.Exit(INCOMPLETE)
            return None

    found = asyncio.run(look())
    if found is not None:
        machine = asdict(found) | {
            "profiles": [{"user": each.user, **each.event._asdict()} for each in found.profiles],
            "counts": [each._asdict() for each in found.counts],
        }
        say(as_json, machine, _told(found))
        if not found.is_equal:
            raise typer.Exit(INCOMPLETE)


def _told(found: "Comparison") -> str:
    lines = [
        f"generation {found.first} (live) and generation {found.second}",
        f"profiles: {found.profiles_equal:,} equal, {found.profiles_different:,} different, "
        f"{found.profiles_only_first:,} only in {found.first}, {found.profiles_only_second:,} only "
        f"in {found.second}",
        f"sets of counts: {found.counts_equal:,} equal, {found.counts_different:,} different, "
        f"{found.counts_different_where_cut:,} that were cut to their strongest and differ",
    ]
    for each in found.profiles:
        side = found.first if each.event.is_in_first else found.second
        lines.append(f"user {each.user}: first difference, only in {side}: {each.event}")
    for count in found.counts:
        lines.append(
            f"count {count.name} of {count.member:012x}: {count.first:.6g} and {count.second:.6g}"
        )
    return "\n".join(lines)


def cutover(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Take the shadow into use: bring it to the end of the events topic, then switch to it.

    The stream goes on meanwhile. What was forgotten is looked at again, and the switch is one
    atomic step; workers follow within about a second, and learn what has come since. The old
    generation stays, for `rollback`, until `drop`.
    """
    from stream.replay.cutover import cutover as run

    _flip(run, "building", dry_run=dry_run, as_json=as_json)


def rollback(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Take the previous generation back into use, once it has learnt what has come since."""
    from stream.replay.cutover import rollback as run

    _flip(run, "previous", dry_run=dry_run, as_json=as_json)


def drop(
    generation: Annotated[
        int, typer.Argument(min=0, help="Number, as `status` tells.", show_default=False)
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete the profiles and counts of a generation that is not live, for good."""
    from stream.replay.generations import drop as run

    settings = Settings()
    if dry_run:
        told = f"the profiles and counts of generation {generation} would be deleted"
        return say(as_json, {"would_drop": generation}, told)
    if not yes:
        typer.confirm(f"Delete generation {generation} of profiles and counts?", abort=True)
    with err.status("deleting") as shown:
        done = asyncio.run(run(settings, generation, told=shown.update))
    say(
        as_json,
        done._asdict(),
        f"generation {generation}: {done.profiles:,} profiles and {done.counts:,} keys of counts "
        "deleted",
    )


def _flip(
    run: "Callable[..., Coroutine[Any, Any, Flip]]", role: str, *, dry_run: bool, as_json: bool
) -> None:
    settings = Settings()
    if dry_run:
        live, to = asyncio.run(_generations(settings, role))
        told = (
            f"no generation is {role}; generation {live} stays live"
            if to is None
            else f"would learn what `{settings.events_topic}` holds behind the checkpoints of "
            f"generation {to}, forget again what was forgotten, and make it live instead of "
            f"generation {live}; the group `{settings.group}` is only looked at"
        )
        return say(as_json, {"live": live, "would_be_live": to}, told)
    with err.status("building the tail") as shown:
        done = asyncio.run(run(settings, told=shown.update))
    say(
        as_json,
        done._asdict(),
        f"generation {done.live} is live, and workers follow at once; {done.events:,} events of "
        f"its tail built, {done.forgotten:,} forgotten users looked at, {done.seconds:.1f} s; "
        f"generation {done.previous} stays until `nextclick replay drop {done.previous}`",
    )


async def _generations(settings: Settings, role: str) -> tuple[int, int | None]:
    from stream.replay.generations import opened

    async with opened(settings) as (_, generations):
        pointer = await generations.read()
        return pointer.live, pointer.building if role == "building" else pointer.previous


def register(group: typer.Typer) -> None:
    """Make these the verbs of a group."""
    examples: dict[Callable[..., None], str] = {
        status: "nextclick replay status",
        compare: "nextclick replay compare --sample 20",
        cutover: "nextclick replay cutover --dry-run",
        rollback: "nextclick replay rollback",
        drop: "nextclick replay drop 3 --yes",
    }
    for verb, example in examples.items():
        group.command(epilog=f"Example: `{example}`")(verb)
