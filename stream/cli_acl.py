"""The verb ``nextclick acl``."""

from typing import Annotated

import typer

from stream.cli_output import Json, say
from stream.settings import Settings


def acl(
    user: Annotated[str, typer.Option("--user", help="Name of the user.")] = "nextclick",
    as_json: Json = False,
) -> None:
    """Print the user of Redis that may do what nextclick needs with these settings, and no more.

    The line goes into Redis' ACL file, or behind `ACL SETUSER` without its first word, on each
    node of a cluster. Add a password, as `>PASSWORD` or `#` and its SHA-256: without one nobody
    can log in. docs/security.md has more.
    """
    from stream.acl import acl_line, commands

    settings = Settings()
    line = acl_line(settings, user)
    machine = {
        "user": user,
        "keys": [f"{settings.redis_prefix}:*"],
        "channels": [],
        "commands": commands(settings),
        "line": line,
    }
    say(as_json, machine, line)
