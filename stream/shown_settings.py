"""All settings as a person may see them: where each comes from, and no secret."""

from typing import NamedTuple

from pydantic import SecretStr

from stream.settings import Settings
from stream.settings_sources import Origin, origins

MASK = "********"


class ShownSetting(NamedTuple):
    """One setting."""

    name: str
    value: str | None
    """Masked where it is a secret."""
    origin: Origin
    place: str
    """Which variable or file; empty for a default."""


def shown_settings(settings: Settings) -> list[ShownSetting]:
    """Every setting, in the order of docs/settings.md.

    Args:
        settings: as the environment of this process gives them.
    """
    origin_of = origins(Settings)
    return [
        ShownSetting(name, _shown(settings, name), *origin_of[name])
        for name in Settings.model_fields
    ]


def _shown(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    match value:
        case None:
            return None
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
    if name == "redis_url" and settings.redis_address != value:
        return settings.redis_address.replace("://", f"://{MASK}@", 1)
    return str(value)
