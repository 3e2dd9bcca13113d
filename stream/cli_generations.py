"""The verbs of ``nextclick replay`` for generations: compare, cutover, rollback, drop, status."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli_output import INCOMPLETE, Json, err, say
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.replay.comparison import Comparison, UserComparison
    from stream.replay.cutover import Flip

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def status(as_json: Json = False) -> None:
    """Say which generations of profiles there are, which is live, about how large they are and
    whether all is built into them that was to be; and how far the replays into the topic are whose
    state is in `.nextclick/replay/`.
    """
    from stream.replay.generations import opened, pointer_as_json
    from stream.replay.replays import known_replays
    from stream.replay.status import states_of

    async def look() -> None:
        async with opened(Settings()) as (parts, generations):
            pointer, states = await states_of(parts.store, generations)
        replays = known_replays()
        machine = pointer_as_json(pointer)
        machine["generations"] = [each._asdict() for each in states]
        machine["replays"] = [each._asdict() for each in replays]
        say(as_json, machine, "\n".join(map(str, [*states, *replays])))

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
    from stream.replay.compare import Comparing
    from stream.replay.generations import opened, other_generation

    async def look() -> "Comparison | UserComparison":
        async with opened(Settings()) as (parts, generations):
            pointer = await generations.read()
            other = other_generation(pointer, generation)
            one, two = (parts.for_past(each) for each in (pointer.live, other))
            with err.status("comparing") as told:
                comparing = Comparing(
                    (one.store, one.counts),
                    (two.store, two.counts),
                    sample=sample,
                    told=lambda users: told.update(f"{users:,} users compared"),
                )
                return await (comparing.all() if user is None else comparing.user(user))

    found = asyncio.run(look())
    say(as_json, found.as_json(), str(found))
    if not found.is_equal:
        raise typer.Exit(INCOMPLETE)


def cutover(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Take the shadow into use: bring it to the end of the topics, then switch to it.

    The topics are all that workers read: that of events and those of `NEXTCLICK_INPUTS`. The stream
    goes on meanwhile. What was forgotten is looked at again, and the switch is one
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
    if not yes and not dry_run:
        typer.confirm(f"Delete generation {generation} of profiles and counts?", abort=True)
    with err.status("counting" if dry_run else "deleting") as shown:
        done = asyncio.run(run(settings, generation, dry_run=dry_run, told=shown.update))
    machine = done._asdict()
    if dry_run:
        machine = {"would_drop": generation, "profiles": done.profiles, "counts": done.counts}
    say(
        as_json,
        machine,
        f"generation {generation}: {done.profiles:,} profiles and {done.counts:,} keys of counts "
        f"{'would be deleted' if dry_run else 'deleted'}",
    )


def _flip(
    run: "Callable[..., Coroutine[Any, Any, Flip]]", role: str, *, dry_run: bool, as_json: bool
) -> None:
    settings = Settings()
    if dry_run:
        live, to = asyncio.run(_generations(settings, role))
        topics = ", ".join(f"`{each}`" for each in settings.source_topics)
        told = (
            f"no generation is {role}; generation {live} stays live"
            if to is None
            else f"would learn what stands behind the checkpoints of generation {to} in {topics}, "
            f"forget again what was forgotten, and make it live instead of generation {live}; the "
            f"group `{settings.group}` is only looked at"
        )
        machine = {"live": live, "would_be_live": to, "topics": list(settings.source_topics)}
        return say(as_json, machine, told)
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
