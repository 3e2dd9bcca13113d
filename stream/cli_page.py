"""docs/cli.md, from the verbs themselves."""

from typing import Any

import typer

from stream.cli import app


def cli_page() -> str:
    """Every verb with its arguments, options and example, without the page's heading."""
    group: Any = typer.main.get_command(app)
    pages = [f"{group.help}\n"]
    for name, command in group.commands.items():
        if not command.hidden:
            pages.append(_verb_page(name, command))
            parts = getattr(command, "commands", {})
            pages += [_verb_page(f"{name} {part}", parts[part]) for part in parts]
    return "\n".join(pages)


def _verb_page(name: str, command: Any) -> str:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    usage = " ".join(
        f"{each.name.upper()}{'...' if each.nargs == -1 else ''}" for each in arguments
    )
    lines = [f"## nextclick {name}", "", command.help, "", f"`nextclick {name} {usage}`".strip()]
    lines[-1] = lines[-1].replace(" `", "`")
    if shown:
        lines += ["", "| argument or option | default | what for |", "|---|---|---|"]
    for each in shown:
        label = each.name.upper() if each in arguments else ", ".join(each.opts)
        default = "" if each.default in (None, False) or each.required else f"`{each.default}`"
        if getattr(each, "secondary_opts", None):
            label = f"{each.opts[0]} / {each.secondary_opts[0]}"
            default = f"`{(each.opts if each.default else each.secondary_opts)[0]}`"
        lines.append(f"| `{label}` | {default} | {each.help} |")
    return "\n".join([*lines, "", command.epilog, ""])
