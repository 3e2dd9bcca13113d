"""What docs/mapping.md says is so."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model.events import Click, Context, Purchase, Search, decode_event
from model.items import Item, decode_item
from model.mapping import Mapping
from model.mapping_file import (
    Form,
    MappingFile,
    Rule,
    Source,
    parse_mapping_file,
    read_mapping_file,
    ready_names,
)
from stream.settings import Settings

PAGE = (Path(__file__).parent.parent / "docs" / "mapping.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for name, body in BLOCKS if name == "sh" for line in body.splitlines()]
EXAMPLE, SHORT = (body for name, body in BLOCKS if name == "toml")
NOW = 1_800_000_000_000


def example(text: str) -> Mapping:
    return Mapping(parse_mapping_file(text.encode(), "docs/mapping.md"))


def test_the_table_has_all_ready_mappings() -> None:
    rows = dict(
        re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE.partition("## Live")[0], re.MULTILINE)
    )
    assert rows == {name: Mapping.named(name).title for name in ready_names()}


def test_all_keys_are_explained() -> None:
    for struct in (MappingFile, Rule, Source, Form):
        for field in struct.__struct_fields__:
            assert f"`{field}`" in PAGE or field in ("title", "column", "first_of", "joined"), field


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("nextclick ")])
def test_the_mapping_of_a_command_is_one(command: str) -> None:
    for option, told in pairwise(shlex.split(command)):
        if option == "--mapping":
            assert Mapping.named(told)
        if option == "--map":
            assert Mapping.renaming([told])


def test_the_setting_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (export,) = [each for each in COMMANDS if each.startswith("export ")]
    name, _, value = export.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value)
    assert list(Settings().input_mappings) == ["clicks", "searches"]


def test_the_example_does_what_its_comments_say() -> None:
    mapping = example(EXAMPLE)

    def made(**row: Any) -> list[Any]:
        row |= {"visitor": "v", "at": "2026-01-05 13:00:00", "shop": {"country": "AT"}}
        return [
            decode_event(data, NOW) for data in mapping.events_of_record(msgspec.json.encode(row))
        ]

    common: dict[str, Any] = {"ts": 1_767_614_400_000, "context": Context(country="AT")}
    (click,) = made(action="view", sku="a", customer="c")
    assert click == Click(event_id=click.event_id, user_id="c", item_id="a", **common)
    lines = [{"sku": "a", "count": 2, "cents": 250}, {"sku": "b", "count": 1, "cents": 0}]
    one, other = made(action="order", lines=lines)
    assert (one.item_id, one.quantity, one.price) == ("a", 2, 2.5)
    assert other == Purchase(event_id=other.event_id, user_id="v", item_id="b", **common)
    (search,) = made(words="green tea")
    assert search == Search(event_id=search.event_id, user_id="v", query="green tea", **common)
    assert made(action="view", sku="a", robot=True) == []
    (item,) = mapping.items({"sku": "a", "name": "Tea", "path": "Drinks > Tea"})
    assert decode_item(item) == Item(item_id="a", title="Tea", category=("Drinks", "Tea"))


def test_the_short_example_is_the_ready_mapping() -> None:
    ready = read_mapping_file("retailrocket")
    assert example(SHORT).digest == Mapping(msgspec.structs.replace(ready, title="")).digest
