"""The verb ``nextclick acl``."""

from enum import StrEnum
from typing import Annotated

import typer

from stream.cli_output import Json, say
from stream.settings import Settings


class RoleName(StrEnum):
    """Those of ``stream.acl``."""

    worker = "worker"
    operator = "operator"
    api = "api"


class ServerName(StrEnum):
    """Whose rights."""

    redis = "redis"
    kafka = "kafka"


def acl(
    of: Annotated[ServerName, typer.Option(help="Whose rights.")] = ServerName.redis,
    role: Annotated[
        RoleName,
        typer.Option(
            help="`worker` is for `nextclick worker`, `api` for `nextclick api`, `operator` for "
            "every other verb; in Redis worker and operator have the same rights."
        ),
    ] = RoleName.worker,
    user: Annotated[str, typer.Option("--user", help="Name of the user.")] = "nextclick",
    principal: Annotated[
        str | None,
        typer.Option(
            help="Kafka's name of the user, such as `User:CN=shop`; by default `User:` and --user.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the user of Redis, or the ACLs of Kafka, that nextclick needs with these settings.

    The line of Redis goes into its ACL file, or behind `ACL SETUSER` without its first word, on
    each node of a cluster. Add a password, as `>PASSWORD` or `#` and its SHA-256: without one
    nobody can log in. What is printed for Kafka are commands of its own tool; `admin.properties`
    is the login of somebody who may alter ACLs. Whoever plays several roles needs what is printed
    for each. docs/security.md has more.
    """
    settings = Settings()
    if of is ServerName.kafka:
        _of_kafka(settings, role, principal or f"User:{user}", as_json)
    elif principal is not None:
        raise typer.BadParameter("--principal is for --of kafka; Redis knows a user by --user")
    else:
        _of_redis(settings, role, user, as_json)


def _of_redis(settings: Settings, role: RoleName, user: str, as_json: bool) -> None:
    from stream.acl import acl_line, commands, keys

    line = acl_line(settings, user, role.value)
    machine = {
        "user": user,
        "keys": [keys(settings, role.value)],
        "channels": [],
        "commands": commands(settings, role.value),
        "line": line,
    }
    say(as_json, machine, line)


def _of_kafka(settings: Settings, role: RoleName, principal: str, as_json: bool) -> None:
    from stream.kafka_acl import acl_commands, bindings

    kind, _, name = principal.partition(":")
    if not (kind and name):
        raise typer.BadParameter(f"{principal!r} is no principal; write TYPE:NAME, as in User:shop")
    lines = acl_commands(settings, principal, role.value)
    machine = {
        "principal": principal,
        "bindings": [
            each._asdict() | {"pattern": "literal"} for each in bindings(settings, role.value)
        ],
        "lines": lines,
    }
    say(as_json, machine, "\n".join(lines))
