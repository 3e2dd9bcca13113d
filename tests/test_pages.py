"""Every page: its commands, settings and links are there, its examples keep the contract."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import typer.main

from model.events import Event, Reason, decode_event
from model.items import Item, decode_item
from stream.cli import app
from stream.settings import Settings
from stream.settings_sources import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE
from tests.test_alerts import told

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "deploy/README.md",
    )
    if path.name not in ("cli.md", "metrics.md", "settings.md")  # generated
]
EVENTS = (ROOT / "docs/events.md").read_text("utf-8")
QUICK_START = (ROOT / "docs/quick-start.md").read_text("utf-8")


_INLINE = re.compile(r"`((?:nextclick|make) [^`]+)`")


def blocks(page: str, language: str) -> list[str]:
    return [
        body
        for name, body in re.findall(r"^```(.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        if name == language
    ]


def commands(page: str) -> list[str]:
    """Every command of blocks and of running text, without settings before it and comments."""
    lines = "\n".join([*blocks(page, "sh"), *blocks(page, "")]).replace("\\\n", " ").splitlines()
    found = [line.split("#")[0].strip() for line in lines] + _INLINE.findall(page)
    return [re.sub(r"^(?:[A-Z_]+=\S+ )*(?:\S*/)?(?=nextclick )", "", line) for line in found]


COMMANDS = sorted({command for path in PAGES for command in commands(path.read_text("utf-8"))})


def beginning(words: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(words)]


def check(command: str) -> None:
    """Raises UsageError for an option that the verb does not take."""
    words = shlex.split(command)[1:]
    verb = typer.main.get_command(app)
    while children := getattr(verb, "commands", None):
        if not words:
            return  # a page may speak of a group of verbs
        assert words[0] in children, f"no such verb: {words[0]}"
        verb = children[words.pop(0)]
    _, too_much, _ = verb.make_parser(verb.context_class(verb)).parse_args(words)
    assert too_much == []


@pytest.mark.parametrize("command", beginning("nextclick "))
def test_a_verb_takes_what_it_is_given(command: str) -> None:
    check(command)


@pytest.mark.parametrize("wrong", ["chek", "check --provder cpu", "replay cutover 1"])
def test_a_wrong_command_would_be_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"no such verb|No such option|assert"):
        check(f"nextclick {wrong}")


@pytest.mark.parametrize("command", beginning("make "))
def test_a_make_target_exists(command: str) -> None:
    # What stands in a page for a value is none to make.
    words = [word for word in shlex.split(command) if "..." not in word]
    subprocess.run([*words, "-n"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", beginning("python -m "))
def test_a_module_is_there(command: str) -> None:
    assert importlib.util.find_spec(command.split()[2]) is not None


def test_there_are_commands_to_check() -> None:
    assert {"make demo", "make test"} <= set(COMMANDS)
    assert len(beginning("nextclick ")) > 40
    assert beginning("python -m ")


def anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_settings_that_a_page_names_are_there(path: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {
        CONFIG_VARIABLE,
        SECRETS_VARIABLE,
    }
    found = re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]", path.read_text("utf-8"))
    assert {name for name in found if not name.startswith(f"{PREFIX}TEST_")} <= known


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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_metric_that_a_page_names_is_told(path: Path) -> None:
    known = told() | {name.removesuffix("_count") for name in told()}
    assert set(re.findall(r"`(nextclick_\w+)`", path.read_text("utf-8"))) <= known


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
