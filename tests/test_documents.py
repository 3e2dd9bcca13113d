"""The generated documents say what the code does, and the schemas judge as the decoder does."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from model.events import ContractError, decode_event
from model.items import Item, encode_item
from serving.recommendation import AsOf, Recommendation, Recommended, encode_recommendation
from stream.asyncapi import asyncapi
from stream.documents import FOLDER, GENERATED, differing, documents, main
from stream.settings import Settings

NOW = 1_800_000_000_000
BASE: dict[str, Any] = {"event_id": "e1", "user_id": "用户", "ts": "2026-01-31T12:00:00Z"}
EVENTS: list[dict[str, Any]] = [
    BASE | {"type": "click", "item_id": "🍵", "dwell_ms": 1200, "position": 0, "rec_id": "r"},
    BASE | {"type": "click", "item_id": "i", "ts": NOW, "colour": "any", "context": {"page": "p"}},
    BASE | {"type": "search", "query": "شاي", "item_ids": ["a", "b"]},
    BASE | {"type": "cart", "item_id": "i", "quantity": 2, "price": 0},
    BASE | {"type": "purchase", "item_id": "i", "quantity": 0.5, "price": 9.99},
    BASE | {"type": "favorite", "item_id": "i"},
    BASE | {"type": "rating", "item_id": "i", "value": 4.5, "text": "good"},
    BASE | {"type": "impression", "rec_id": "r", "item_ids": ["a"]},
    BASE | {"type": "user", "attributes": {"age": 7, "interests": ["tea"], "gender": None}},
    BASE | {"type": "identify", "anonymous_id": "cookie"},
    BASE | {"type": "forget", "generated": True, "session_id": "s"},
]
BROKEN: list[dict[str, Any]] = [
    BASE | {"type": "teleport"},
    BASE | {"type": "click"},
    BASE | {"type": "click", "item_id": 7},
    BASE | {"type": "click", "item_id": "i", "dwell_ms": -1},
    BASE | {"type": "search", "query": ""},
    BASE | {"type": "purchase", "item_id": "i", "quantity": 0},
    BASE | {"type": "user", "attributes": {"a": {}}},
    BASE | {"type": "forget", "ts": 1.5},
    BASE | {"type": "forget", "user_id": None},
]


def validator(name: str) -> Draft202012Validator:
    """Of the committed schema."""
    schema = json.loads((FOLDER / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def test_the_committed_documents_are_those_of_the_code() -> None:
    assert differing() == [], "run: python -m stream.documents"


def test_a_document_that_is_out_of_date_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stream.documents.FOLDER", tmp_path / "docs")
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "docs" / "settings.md").write_text("old")
    assert main(["--check"]) == 1
    assert "docs/settings.md is out of date" in capsys.readouterr().err


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_the_schema_takes_what_the_decoder_takes(event: dict[str, Any]) -> None:
    decode_event(json.dumps(event).encode(), NOW)
    validator("events.schema.json").validate(event)


@pytest.mark.parametrize("event", BROKEN)
def test_the_schema_refuses_what_the_decoder_refuses(event: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        decode_event(json.dumps(event).encode(), NOW)
    assert not validator("events.schema.json").is_valid(event)


def test_every_kind_of_event_is_in_the_schema_and_above() -> None:
    schema = json.loads((FOLDER / "events.schema.json").read_text())
    assert set(schema["discriminator"]["mapping"]) == {event["type"] for event in EVENTS}


def test_the_schema_of_an_item() -> None:
    item = Item(item_id="i", title="茶", category=("drinks", "tea"), price=1.5, available=False)
    validator("items.schema.json").validate(json.loads(encode_item(item)))
    assert not validator("items.schema.json").is_valid({"title": "no id"})


def test_the_schema_of_a_list() -> None:
    found = Recommendation(
        rec_id="r",
        user_id="u",
        event_id="e",
        ts=NOW,
        as_of=AsOf("events", 3, 17),
        bundle="v",
        items=(Recommended("i", 1, 0.5, ("search", "popular"), "popular in tea", "tea"),),
        step_ms={"rank": 1.5},
    )
    value = json.loads(encode_recommendation(found))
    validator("recommendation.schema.json").validate(value)
    assert not validator("recommendation.schema.json").is_valid(value | {"as_of": None})


def references(node: Any) -> list[str]:
    """Every ``$ref`` of a document."""
    if isinstance(node, list):
        return [each for child in node for each in references(child)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for child in node.values() for each in references(child)]
    return []


def test_the_references_of_the_asyncapi_document_lead_somewhere() -> None:
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
    assert document == asyncapi(GENERATED)
    found = references(document)
    assert len(found) >= 4 + 4 + 4 + 3
    for reference in found:
        if reference.startswith("./"):
            assert reference.removeprefix("./") in documents()
            continue
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_the_asyncapi_document_has_the_topics_of_the_settings() -> None:
    settings = Settings()
    assert set(asyncapi(GENERATED)["channels"]) == {
        settings.events_topic,
        settings.dlq_topic,
        settings.recommendations_topic,
        settings.catalog_topic,
    }
