"""docs/settings.md, from what is declared."""

from stream.settings import Settings
from stream.settings_sources import PREFIX


def settings_page() -> str:
    """What it says, without the page's heading."""
    return (
        "A setting comes from its environment variable, else from a file of its name in lower "
        "case in the folder that `NEXTCLICK_SECRETS_DIR` names, as Docker and Kubernetes mount "
        "secrets (`nextclick_redis_password`), else from a TOML file (the one that "
        "`NEXTCLICK_CONFIG` names, else `nextclick.toml` in the current folder; keys are the "
        'names below in lower case without the prefix, as in `redis_prefix = "shop"`), else from '
        "its default. An unknown name or an impossible combination stops the start with a "
        "sentence. `nextclick check --show-config` prints every setting and where it comes from, "
        f"secrets masked.\n\n{_table()}"
    )


def _table() -> str:
    rows = ["| variable | default | what for |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_plain(field.default)}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
