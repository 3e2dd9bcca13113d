"""The verb ``nextclick acl``."""

from enum import StrEnum
from typing import Annotated

import typer

from stream.cli_output import Json, say
from stream.settings import Settings


class RoleName(StrEnum):
    """Those of ``stream.acl``."""

    worker = "worker"
    api = "api"


def acl(
    role: Annotated[
        RoleName,
        typer.Option(help="`api` is for `nextclick api`, which only reads, `worker` for the rest."),
    ] = RoleName.worker,
    user: Annotated[str, typer.Option("--user", help="Name of the user.")] = "nextclick",
    as_json: Json = False,
) -> None:
    """Print the user of Redis that may do what nextclick needs with these settings, and no more.

    The line goes into Redis' ACL file, or behind `ACL SETUSER` without its first word, on each
    node of a cluster. Add a password, as `>PASSWORD` or `#` and its SHA-256: without one nobody
    can log in. docs/security.md has more.
    """
    from stream.acl import acl_line, commands, keys

    settings = Settings()
    line = acl_line(settings, user, role.value)
    machine = {
        "user": user,
        "keys": [keys(settings, role.value)],
        "channels": [],
        "commands": commands(settings, role.value),
        "line": line,
    }
    say(as_json, machine, line)
