"""The verbs ``nextclick api`` and ``nextclick api-key``."""

from typing import Annotated

import typer

from stream.cli_output import BundleOption, Json, ProviderOption, Pseudonymise, say
from stream.settings import Settings, override_environment


def api(
    bind: Annotated[
        str | None, typer.Option("--bind", help="Address to serve on.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port to serve on.", show_default=False)
    ] = None,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    console: Annotated[
        bool, typer.Option("--console", help="Serve the console too, at /console/.")
    ] = False,
    pseudonymise: Pseudonymise = False,
    follow_owner: Annotated[
        bool, typer.Option("--follow-owner", hidden=True, help="Stop when standard input ends.")
    ] = False,
) -> None:
    """Serve the HTTP API until a signal ends it: lists, similar items, events in (docs/api.md).

    It works with the same Kafka, Redis, catalogue and bundle as the workers, and takes no events
    itself. Without NEXTCLICK_API_KEYS only this machine is served.
    """
    from stream.api.server import run_api

    override_environment(
        {
            "bundle": bundle, "provider": provider, "api_bind": bind, "api_port": port,
            "console": True if console else None,
            "pseudonymise": pseudonymise or None,
        }
    )  # fmt: skip
    run_api(Settings(), follow_owner=follow_owner)


def api_key(
    name: Annotated[str, typer.Argument(help="Whose it is, for logs.", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            help="What it may do: `read`, `recommend`, `write`, `forget`; may be given again.",
            show_default=False,
        ),
    ],
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=0.001,
            help="Requests a second, instead of NEXTCLICK_API_RATE.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an API key: the key, for its user, and the line with its hash, for the file of keys.

    The key is shown this once and kept nowhere. A line that is taken out of the file is no key any
    more, two seconds later.
    """
    from stream.api.keys import new_key

    key, line = new_key(name, scope, rate)
    say(
        as_json,
        {"key": key, "line": line},
        f"key, shown this once:  {key}\nline for the file that NEXTCLICK_API_KEYS names:\n{line}",
    )
