"""The generated part of docs/: ``python -m stream.documents`` writes it, ``--check`` compares.

And of the Helm chart's schema, what it says of settings.

A developer's tool: it needs PyYAML, which the extra ``dev`` installs.
"""

import json
import sys
from os.path import normpath
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from model.events import event_schema
from model.items import Item
from serving.recommendation import Recommendation
from serving.requests import REPLAY_HEADER
from stream.chart_schema import chart_schema
from stream.deadletter import DEAD_LETTER_HEADERS, REDRIVEN, SOMETIMES_HEADERS
from stream.metrics_page import metrics_table
from stream.replay.record_sender import ORIGINAL_PLACE, ORIGINAL_TIME
from stream.settings import Settings, settings_table

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
        "asyncapi.yaml": _yaml(asyncapi()),
        "openapi.json": _openapi(),
        "settings.md": _settings_page(),
        "metrics.md": _metrics_page(),
        "cli.md": cli_page(),
        CHART_SCHEMA: _json(chart_schema()),
    }


class Channel(NamedTuple):
    """A topic, what we do there, and the message on it."""

    topic: str
    about: str
    action: str
    message: str
    parts: dict[str, Any]


def _channels() -> list[Channel]:
    text = {"type": "string"}
    dead = {
        name: text | {"description": described}
        for name, described in (DEAD_LETTER_HEADERS | SOMETIMES_HEADERS).items()
    }
    event = {
        REPLAY_HEADER: text | {"const": "1", "description": "Set on replayed events."},
        ORIGINAL_TIME: text
        | {
            "description": "Of a replayed event: when Kafka stamped it first, or its own time "
            "where it came from a file; epoch milliseconds, decimal."
        },
        ORIGINAL_PLACE: text
        | {
            "description": "Of an event replayed from a topic: where it first stood, "
            "TOPIC:PARTITION:OFFSET."
        },
        REDRIVEN: text
        | {"description": "The dead letter that was sent back, TOPIC:PARTITION:OFFSET."},
    }
    return [
        Channel(
            _topic("events_topic"),
            "What users did. Keyed by `user_id`, so that one worker sees a user's events in order.",
            "receive",
            "event",
            {"payload": {"$ref": "./events.schema.json"}, "headers": _object(event, [])},
        ),
        Channel(
            _topic("dlq_topic"),
            "Records that break the contract: key, value and headers as they came, why and "
            "whence in further headers. A record with the header `nextclick-redrive-note` is no "
            "dead letter: it lists the offsets of its partition that were sent back.",
            "send",
            "deadLetter",
            {
                "contentType": "application/octet-stream",
                "payload": {},
                "headers": _object(dead, list(DEAD_LETTER_HEADERS)),
            },
        ),
        Channel(
            _topic("recommendations_topic"),
            "Personal lists, keyed by user. Drop copies by `rec_id`; keep the highest `as_of`.",
            "send",
            "recommendation",
            {"payload": {"$ref": "./recommendation.schema.json"}},
        ),
        Channel(
            _topic("catalog_topic"),
            "The items, keyed by `item_id`, compacted; a null value removes an item.",
            "receive",
            "item",
            {"payload": {"oneOf": [{"$ref": "./items.schema.json"}, {"type": "null"}]}},
        ),
    ]


def asyncapi() -> dict[str, Any]:
    """The four channels as an AsyncAPI 3.0 document; schemas stand in the files beside it."""
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "nextclick",
            "version": "1.0.0",
            "description": f"{GENERATED} Topic names are the defaults of the settings.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            each.topic: {
                "address": each.topic,
                "description": each.about,
                "messages": {each.message: {"$ref": f"#/components/messages/{each.message}"}},
            }
            for each in channels
        },
        "operations": {
            f"{each.action}{each.message[0].upper()}{each.message[1:]}": {
                "action": each.action,
                "channel": {"$ref": f"#/channels/{each.topic}"},
                "messages": [{"$ref": f"#/channels/{each.topic}/messages/{each.message}"}],
            }
            for each in channels
        },
        "components": {
            "messages": {each.message: {"name": each.message} | each.parts for each in channels}
        },
    }


def cli_page() -> str:
    """Every verb with its arguments, options and example."""
    from stream.cli import app

    group: Any = typer.main.get_command(app)
    pages = [f"# Command line\n\n{GENERATED}\n\n{group.help}\n"]
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


def _openapi() -> str:
    from stream.api.app import OPERATIONS
    from stream.api.openapi import openapi

    return _json(openapi(OPERATIONS))


def _settings_page() -> str:
    return (
        f"# Settings\n\n{GENERATED}\n\n"
        "A setting comes from its environment variable, else from a file of its name in lower "
        "case in the folder that `NEXTCLICK_SECRETS_DIR` names, as Docker and Kubernetes mount "
        "secrets (`nextclick_redis_password`), else from a TOML file (the one that "
        "`NEXTCLICK_CONFIG` names, else `nextclick.toml` in the current folder; keys are the "
        'names below in lower case without the prefix, as in `redis_prefix = "shop"`), else from '
        "its default. An unknown name or an impossible combination stops the start with a "
        "sentence. `nextclick check --show-config` prints every setting and where it comes from, "
        f"secrets masked.\n\n{settings_table()}"
    )


def _metrics_page() -> str:
    return (
        f"# Metrics\n\n{GENERATED}\n\n"
        "A worker serves them at `/metrics` on `NEXTCLICK_METRICS_PORT` (docs/liveness.md), the "
        "HTTP API on its own port. A histogram is `_bucket`, `_sum` and `_count`. "
        "deploy/prometheus has alerts on some, docs/runbook.md says what to do.\n\n"
        "Some that two of them make together: the share of unknown items is "
        "`nextclick_unknown_items_total / nextclick_named_items_total`, that of what the network "
        "has not learned `nextclick_unlearned_items_total / nextclick_named_items_total` (a share "
        "that grows wants a new bundle); of profiles in hand "
        '`nextclick_merges_total{profile="held"}` of all; each by `rate(...[5m])`.\n\n'
        f"{metrics_table()}"
    )


def _topic(setting: str) -> str:
    return str(Settings.model_fields[setting].default)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


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
