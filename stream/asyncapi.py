"""docs/asyncapi.yaml: the topics, and what stands on each."""

from typing import Any, NamedTuple

from serving.requests import REPLAY_HEADER
from stream.deadletter import DEAD_LETTER_HEADERS, REDRIVEN, SOMETIMES_HEADERS
from stream.replay.record_sender import ORIGINAL_PLACE, ORIGINAL_TIME
from stream.settings import Settings


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


def asyncapi(note: str) -> dict[str, Any]:
    """The four channels as an AsyncAPI 3.0 document that begins with a note.

    The schemas stand in the files beside it.
    """
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "nextclick",
            "version": "1.0.0",
            "description": f"{note} Topic names are the defaults of the settings.",
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


def _topic(setting: str) -> str:
    return str(Settings.model_fields[setting].default)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}
