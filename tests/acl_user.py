"""A Redis user with the rights of `nextclick acl`, and what its server has seen it do."""

from collections.abc import Mapping
from typing import Any

from redis import Redis

from stream.acl import acl_line
from stream.settings import Settings

USER, READER, PASSWORD = "nextclick", "nextclick-api", "open-barley"
OF_NOBODY = {"auth", "hello"}
"""What whoever connects may do."""


def make_users(admin: Redis, settings: Settings) -> None:
    """The users of these settings, with their password."""
    command: Any = admin.execute_command
    for line in (acl_line(settings, USER), acl_line(settings, READER, "api")):
        _, name, *rules = line.split()
        command("ACL", "SETUSER", name, "reset", *rules, f">{PASSWORD}")


def watch(admin: Redis) -> None:
    """Forget what was done and refused so far."""
    admin.acl_log_reset()
    admin.config_resetstat()


def done(admin: Redis) -> set[str]:
    """The commands that were run since, by whomever, scripts included."""
    stats = admin.info("commandstats")
    return (
        {name.removeprefix("cmdstat_") for name, each in stats.items() if each["calls"]}
        - OF_NOBODY
        - {"config|resetstat", "acl|log"}
    )


def refused(admin: Redis) -> list[str]:
    """What was refused since."""
    return [
        f"{_text(entry, 'username')} {_text(entry, 'reason')} {_text(entry, 'object')}"
        for entry in admin.acl_log()
    ]


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry[name]
    return value.decode() if isinstance(value, bytes) else str(value)
