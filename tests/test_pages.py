"""Every page: its commands, settings and links are there, its examples keep the contract."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import typer.main

from model.events import Event, Reason, decode_event
from model.items import Item, decode_item
from stream.cli import app
from stream.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "deploy/README.md",
    )
    if path.name not in ("cli.md", "settings.md")  # generated
]
EVENTS = (ROOT / "docs/events.md").read_text("utf-8")
QUICK_START = (ROOT / "docs/quick-start.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [
        body
        for name, body in re.findall(r"^```(.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        if name == language
    ]


def commands() -> Iterator[tuple[str, str]]:
    """Each page's calls of ``nextclick``, with settings before them or not."""
    for path in PAGES:
        page = path.read_text("utf-8")
        for body in [*blocks(page, "sh"), *blocks(page, "")]:
            for line in body.replace("\\\n", " ").splitlines():
                found = re.match(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?nextclick (.*)", line.split("#")[0])
                if found:
                    yield path.name, found[1].strip()


def anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_takes_what_it_is_given(page: str, command: str) -> None:
    words = shlex.split(command)
    verb = typer.main.get_command(app)
    while children := getattr(verb, "commands", None):
        assert words, f"{page}: {command!r} names no verb"
        assert words[0] in children, f"{page}: no such verb: {words[0]}"
        verb = children[words.pop(0)]
    # Raises UsageError for an option that the verb does not take.
    _, too_much, _ = verb.make_parser(verb.context_class(verb)).parse_args(words)
    assert too_much == [], page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_settings_that_a_page_names_are_there(path: Path) -> None:
    named = set(re.findall(r"\bNEXTCLICK_[A-Z0-9_]*[A-Z0-9]", path.read_text("utf-8")))
    outside = {"NEXTCLICK_CONFIG"} | {name for name in named if name.startswith("NEXTCLICK_TEST_")}
    known = {f"NEXTCLICK_{name.upper()}" for name in Settings.model_fields}
    assert named - outside <= known


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads
            }


def test_the_contract_of_events_is_told_whole() -> None:
    tags = {str(struct.__struct_config__.tag): struct for struct in get_args(Event)}
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", EVENTS, re.MULTILINE))
    assert set(tags) <= set(rows)
    for struct in tags.values():
        for field in msgspec.structs.fields(struct):
            assert f"`{field.encode_name}`" in EVENTS or field.name == "item_id", field.name
    assert all(f"| `{reason}` |" in EVENTS for reason in get_args(Reason))


def test_the_examples_keep_the_contract() -> None:
    events, items = (block.splitlines() for block in blocks(EVENTS, "json"))
    now = int(time.time() * 1000)
    kinds = {type(decode_event(line.encode(), now)) for line in events}
    assert kinds == set(get_args(Event))
    (item,) = [decode_item(line.encode()) for line in items]
    told = {field.encode_name for field in msgspec.structs.fields(Item)}
    assert set(json.loads(items[0])) == told
    assert item.created_ms == 1_767_312_000_000


def test_the_made_up_shop_keeps_the_contract(tmp_path: Path) -> None:
    (program,) = blocks(QUICK_START, "python make_up")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    items = [decode_item(line) for line in (tmp_path / "items.jsonl").read_bytes().splitlines()]
    now = int(time.time() * 1000)
    events = [
        decode_event(line, now) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()
    ]
    assert len(items) == len({item.item_id for item in items}) == 100
    assert len(events) > 5_000
    assert {event.item_id for event in events} <= {item.item_id for item in items}  # type: ignore[union-attr]
