"""What the pages for whoever runs it tell is there: settings, commands, benchmarks, files."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from stream.settings import CONFIG_VARIABLE, PREFIX, Settings
from tests.command_line import COMMAND, unknown_words
from tests.test_alerts import told

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / name for name in ("scaling.md", "tuning.md")] + [
    ROOT / "deploy" / "README.md"
]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:nextclick|make) [^`]+)`")


def commands(text: str) -> list[str]:
    """Every command of blocks and of running text, without comments."""
    lines = "\n".join(_BLOCK.findall(text)).splitlines()
    found = [line.split("#")[0].strip() for line in lines] + _INLINE.findall(text)
    return [line for line in found if line]


ALL = sorted({command for text in TEXTS.values() for command in commands(text)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_is_a_setting(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    found = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]", TEXTS[page]))
    assert found
    assert found <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_and_every_linked_file_exists(page: Path) -> None:
    known = told() | {name.removesuffix("_count") for name in told()}
    assert set(re.findall(r"`(nextclick_\w+)`", TEXTS[page])) <= known
    for target in re.findall(r"\]\(([^)#]+)\)", TEXTS[page]):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("command", [each for each in ALL if COMMAND.match(each)])
def test_a_verb_takes_the_options_it_is_given(command: str) -> None:
    assert not unknown_words(command)


def test_an_unknown_option_would_be_found() -> None:
    assert unknown_words("nextclick check --provder cpu") == {"--provder"}
    with pytest.raises(LookupError):
        unknown_words("nextclick chek")


@pytest.mark.parametrize("command", [each for each in ALL if each.startswith("make ")])
def test_a_make_target_exists(command: str) -> None:
    subprocess.run([*command.split(), "-n"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", [each for each in ALL if each.startswith("python -m ")])
def test_a_benchmark_is_there(command: str) -> None:
    assert importlib.util.find_spec(command.split()[2]) is not None


def test_there_are_commands_to_check() -> None:
    assert len([each for each in ALL if COMMAND.match(each)]) >= 5
    assert len([each for each in ALL if each.startswith("python -m ")]) >= 3
