"""The verb ``nextclick forget``."""

import asyncio
from typing import Annotated

import typer

from stream.cli_output import INCOMPLETE, Json, err, say
from stream.settings import Settings


def forget(
    user: Annotated[str, typer.Argument(help="User id.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="Erase what happened up to then: RFC 3339 with offset, or epoch milliseconds. "
            "Now, where it is not given.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the workers have done it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase a user: send a `forget` event, which workers answer by erasing at once.

    The profile and the last list go, and events up to that time are refused from then on, however
    often they are sent. So do those of the anonymous ids that `identify` events have linked with
    the user, out of the profiles of other users of those ids too; an id that was never linked is a
    user of its own. What Kafka, dead letters, files and
    bundles still hold, and how to purge it, stands in docs/privacy.md. With `--wait` the exit
    status is 1 where no worker has come to the event.
    """
    from stream.forget import forget_event, send_forget, wait_until_done

    settings = Settings()
    sent = asyncio.run(send_forget(settings, forget_event(user, at)))
    done: bool | None = None
    if wait:
        with err.status("waiting for the workers") as status:
            done = asyncio.run(
                wait_until_done(
                    settings,
                    sent,
                    progress=lambda behind: status.update(f"{behind:,} events before it is done"),
                )
            )
    place = f"{sent.topic}:{sent.partition}:{sent.offset}"
    state = {
        None: "the workers erase profile and last list when they come to it (--wait waits for it)",
        True: "the workers have erased profile and last list",
        False: f"the workers of the group `{settings.group}` have not come to it and stand still; "
        "start them: the event waits for them",
    }[done]
    topics = ", ".join(f"`{topic}`" for topic in settings.source_topics)
    say(
        as_json,
        sent._asdict() | {"done": done},
        f"forget event at {place}: {state}\n"
        f"still held until you purge it: what Kafka keeps of {topics}, "
        f"`{settings.dlq_topic}` and `{settings.recommendations_topic}`, event files, and bundles "
        "trained on them; docs/privacy.md says how",
    )
    if done is False:
        raise typer.Exit(INCOMPLETE)
