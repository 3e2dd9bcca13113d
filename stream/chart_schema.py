"""What the Helm chart's schema says of settings: each by name, type and bounds, from the code."""

import json
from pathlib import Path
from typing import Any

from stream.settings import Settings

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "nextclick"
SCHEMA = CHART / "values.schema.json"

OF_THE_CHART = {
    "api_bind", "api_cert_file", "api_cert_key_file", "api_keys", "api_port", "bundle", "embedded",
    "metrics_bind", "metrics_port", "rules", "text_cache",
}  # fmt: skip
"""What the chart sets itself, or what makes no sense in a cluster."""
_SECRET_ENOUGH = ("_username", "_url")
"""May stand in a Secret as well: names of users, and URLs with passwords."""
_SAID_OF_VALUES = (
    "type", "enum", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength",
)  # fmt: skip


def chart_schema() -> dict[str, Any]:
    """The chart's schema as it is kept, with the settings as they are now."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    plain, secrets, files = {}, {}, {}
    for name, told in Settings.model_json_schema()["properties"].items():
        value = _value(told)
        if name in OF_THE_CHART:
            continue
        if value.get("format") == "password":
            secrets[name] = {"$ref": "#/$defs/reference"}
        elif value.get("format") == "path":
            files[name] = {"$ref": "#/$defs/reference"}
        else:
            plain[name] = value | {"description": told["description"]}
            if name.endswith(_SECRET_ENOUGH):
                secrets[name] = {"$ref": "#/$defs/reference"}
    properties = schema["properties"]
    for key, names in (("settings", plain), ("secrets", secrets), ("secretFiles", files)):
        properties[key]["properties"] = names
    return schema


def _value(told: dict[str, Any]) -> dict[str, Any]:
    """What a setting may be, where one is given."""
    kinds = [
        {key: kind[key] for key in _SAID_OF_VALUES if key in kind}
        for kind in told.get("anyOf", [told])
        if kind.get("type") != "null"
    ]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
