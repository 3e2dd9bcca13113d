"""Where settings come from: variables, a folder of secrets, a TOML file; and which one said what.

What no setting is called stops the start here, as a ValueError with a sentence.
"""

import os
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    TomlConfigSettingsSource,
)

PREFIX = "NEXTCLICK_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
SECRETS_VARIABLE = f"{PREFIX}SECRETS_DIR"
DEFAULT_CONFIG = Path("nextclick.toml")
TEST_PREFIX = f"{PREFIX}TEST_"
"""Left to the test suite."""

Origin: TypeAlias = Literal["environment", "secrets", "file", "default"]


def file_sources(settings_cls: type[BaseSettings]) -> list[PydanticBaseSettingsSource]:
    """The folder of secrets, then the TOML file, each where it is there."""
    found: list[PydanticBaseSettingsSource] = []
    if (folder := secrets_folder()) is not None:
        _refuse_unknown_secrets(settings_cls, folder)
        found.append(SecretsSettingsSource(settings_cls, secrets_dir=folder))
    if (path := config_file()) is not None:
        try:
            found.append(TomlConfigSettingsSource(settings_cls, path))
        except ValueError as error:
            raise ValueError(f"{path} is not valid TOML ({error}); correct it") from None
    return found


def config_file() -> Path | None:
    """The TOML file; None where there is none. Raises ValueError where a named one is missing."""
    named = os.environ.get(CONFIG_VARIABLE)
    path = DEFAULT_CONFIG if named is None else Path(named)
    if named == "" or not path.is_file():
        if named:
            raise ValueError(
                f"{CONFIG_VARIABLE} names {path}, which is not a file; correct it or unset it"
            )
        return None
    return path


def secrets_folder() -> Path | None:
    """The folder of secrets; None where there is none. Raises ValueError where it is missing."""
    named = os.environ.get(SECRETS_VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise ValueError(
            f"{SECRETS_VARIABLE} names {named}, which is not a folder; correct it or unset it"
        )
    return Path(named)


def _refuse_unknown_secrets(settings_cls: type[BaseSettings], folder: Path) -> None:
    """Other people's files may lie there too: only names that begin as ours are looked at."""
    known = {(PREFIX + name).lower() for name in settings_cls.model_fields}
    for file in sorted(folder.iterdir()):
        name = file.name.lower()
        if name.startswith(PREFIX.lower()) and name not in known:
            raise ValueError(
                f"the secret {file} is no setting of nextclick; correct its name "
                "(docs/settings.md lists them) or remove it"
            )


def refuse_unknown_variables(settings_cls: type[BaseSettings]) -> None:
    """A typing error must not turn into a default."""
    known = {PREFIX + name.upper() for name in settings_cls.model_fields}
    known |= {CONFIG_VARIABLE, SECRETS_VARIABLE}
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known:
            raise ValueError(
                f"the environment variable {variable} is no setting of nextclick; "
                "correct its name (docs/settings.md lists them) or unset it"
            )


def origins(settings_cls: type[BaseSettings]) -> dict[str, tuple[Origin, str]]:
    """By name of each setting what has said it, and where that is: a variable or a file."""
    variables = {name.upper(): name for name, value in os.environ.items() if value}
    kinds: list[Origin] = ["secrets"] if secrets_folder() is not None else []
    kinds += ["file"] if config_file() is not None else []
    said = list(zip(kinds, [source() for source in file_sources(settings_cls)], strict=True))
    found: dict[str, tuple[Origin, str]] = {}
    for name in settings_cls.model_fields:
        if (variable := variables.get(PREFIX + name.upper())) is not None:
            found[name] = "environment", variable
            continue
        kind = next((kind for kind, values in said if name in values), None)
        match kind:
            case "secrets":
                found[name] = kind, str((secrets_folder() or Path()) / (PREFIX + name).lower())
            case "file":
                found[name] = kind, str(config_file())
            case _:
                found[name] = "default", ""
    return found
