"""The generated part of docs/: ``python -m stream.documents`` writes it, ``--check`` compares.

And of the Helm chart's schema, what it says of settings.

A developer's tool: it needs PyYAML, which the extra ``dev`` installs.
"""

import json
import sys
from os.path import normpath
from pathlib import Path
from typing import Any

import msgspec

from model.events import event_schema
from model.items import Item
from serving.recommendation import Recommendation
from stream.asyncapi import asyncapi
from stream.chart_schema import chart_schema
from stream.cli_page import cli_page
from stream.metrics_page import metrics_page
from stream.settings_page import settings_page

FOLDER = Path(__file__).resolve().parent.parent / "docs"
CHART_SCHEMA = "../deploy/helm/nextclick/values.schema.json"
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
GENERATED = "Generated from the code by `python -m stream.documents`; do not edit."


def documents() -> dict[str, str]:
    """File name, from docs/, -> text of every generated document."""
    return {
        "events.schema.json": _json(event_schema()),
        "items.schema.json": _json(_schema("nextclick item", Item)),
        "recommendation.schema.json": _json(_schema("nextclick recommendation", Recommendation)),
        "asyncapi.yaml": _yaml(asyncapi(GENERATED)),
        "openapi.json": _openapi(),
        "settings.md": _page("Settings", settings_page()),
        "metrics.md": _page("Metrics", metrics_page()),
        "cli.md": _page("Command line", cli_page()),
        CHART_SCHEMA: _json(chart_schema()),
    }


def _openapi() -> str:
    from stream.api.app import OPERATIONS
    from stream.api.openapi import openapi

    return _json(openapi(OPERATIONS))


def _page(title: str, text: str) -> str:
    return f"# {title}\n\n{GENERATED}\n\n{text}"


def _schema(title: str, contract: type) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components(
        [contract], ref_template="#/$defs/{name}"
    )
    return {"$schema": JSON_SCHEMA, "title": title, **schema, "$defs": components}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def differing() -> list[str]:
    """Names of the documents that are not what the code would write."""
    return [
        name
        for name, text in documents().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text
    ]


def main(arguments: list[str]) -> int:
    """Write the documents, or with ``--check`` name those that differ and return 1."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m stream.documents [--check]\n")
        return 2
    if arguments:
        names = differing()
        for name in names:
            path = normpath(f"docs/{name}")
            sys.stderr.write(f"{path} is out of date; run: python -m stream.documents\n")
        return 1 if names else 0
    for name, text in documents().items():
        place = Path(normpath(FOLDER / name))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        sys.stdout.write(f"{normpath(f'docs/{name}')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
