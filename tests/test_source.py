"""The source itself: sizes, names, and what must not be in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "serving", "model")
CODE = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
PYTHON = [*CODE, *TESTS, *BENCHMARKS]

MOST_LINES = 400
"""More than that is two nouns; about 250 is what one needs."""

VAGUE = re.compile(r"^_*(utils?|helpers?|misc|common)$")

_TEXT = {".py", ".lua", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".cfg", ""}
_PLACES = (*PACKAGES, "tests", "benchmarks", "docs", "deploy", ".ci")


def written_files() -> list[Path]:
    """Every text file a person or a generator wrote, and none that a tool left."""
    # A worktree's .git and a person's own settings are theirs.
    top = [p for p in ROOT.iterdir() if p.is_file() and p.name not in (".git", "nextclick.toml")]
    below = [path for place in _PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    return sorted(
        path for path in (*top, *below) if path.suffix in _TEXT and "__pycache__" not in path.parts
    )


def machine_paths() -> Iterator[re.Pattern[str]]:
    """What only this machine's files are called: the home folder, the checkout, anyone's home."""
    home = Path.home()
    if home != Path("/"):
        yield re.compile(rf"{re.escape(str(home))}\b")
    if len(ROOT.parts) > 2:  # the name of a folder at the root may be a word of ours
        yield re.compile(rf"{re.escape(str(ROOT))}\b")
    yield re.compile(r"/(home|Users)/[a-z]\w*/")


def calls_print(source: str) -> bool:
    """Whether a bare ``print`` is called, whatever a linter was told to overlook."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(ast.parse(source))
    )


def test_there_is_something_to_look_at() -> None:
    assert {path.parent.name for path in CODE} >= set(PACKAGES)
    assert len(CODE) > 30
    assert {"Makefile", "pyproject.toml", "compose.yaml", "run"} <= {
        path.name for path in written_files()
    }


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_noun_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_room_has_a_name_that_says_nothing() -> None:
    names = {part for path in PYTHON for part in (path.stem, path.parent.name)}
    assert not {name for name in names if VAGUE.match(name)}


def test_the_vague_names_are_recognised() -> None:
    assert all(map(VAGUE.match, ("utils", "util", "_helpers", "common")))
    assert not any(map(VAGUE.match, ("rows", "commons", "utility")))


def test_no_room_prints() -> None:
    # The command line writes through its consoles, which know a terminal from a pipe.
    printing = [str(path) for path in CODE if calls_print(path.read_text(encoding="utf-8"))]
    assert not printing


def test_a_print_would_be_found() -> None:
    assert calls_print("def f():\n    print(1)  # noqa: T201")
    assert not calls_print("console.print(1)")


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    patterns = list(machine_paths())
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in written_files()
        for pattern in patterns
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found


def test_a_home_folder_would_be_found() -> None:
    patterns = list(machine_paths())
    assert any(pattern.search(f"open('{Path.home()}/x')") for pattern in patterns)
    assert any(pattern.search("/home/" + "jane/x") for pattern in patterns)


def test_no_pickle() -> None:
    used = re.compile(r"^\s*(import|from)\s+(pickle|cPickle|dill|joblib|shelve)\b", re.MULTILINE)
    assert used.search("    import pickle\n")
    assert not [str(path) for path in PYTHON if used.search(path.read_text(encoding="utf-8"))]


def test_the_architecture_names_every_room() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rooms = {path.stem for path in CODE if path.stem != "__init__"}
    assert {room for room in rooms if f"`{room}`" not in page} == set()
