"""Commands that pages tell: whether the verb and its options are there."""

import re
import shlex

import typer.main

from stream.cli import app

COMMAND = re.compile(r"(\S*/)?nextclick [a-z]")


def unknown_words(command: str) -> set[str]:
    """Options that a ``nextclick`` command has and its verb does not know.

    Raises:
        LookupError: there is no such verb.
    """
    words = shlex.split(command)
    group = typer.main.get_command(app)
    verb = group.get_command(None, words[1])  # type: ignore[attr-defined]
    if verb is None:
        raise LookupError(f"no such verb: {words[1]}")
    parts = getattr(verb, "commands", {})
    if parts:
        verb = parts[words[2]]
    options = {name for option in verb.params for name in option.opts}
    return {word for word in words if word.startswith("--")} - options
