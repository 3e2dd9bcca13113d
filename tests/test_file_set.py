"""Which files are meant."""

from pathlib import Path

import pytest

from stream.file_set import STDIN, digest_of, files_of
from stream.rows import RowsError

NAMES = ["a.jsonl", "b.csv.gz", "in/c.parquet", "in/er/d.ndjson.zst"]
OTHERS = ["notes.txt", "_SUCCESS", ".a.jsonl", "in/_old/e.jsonl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of events and others."""
    for name in NAMES + OTHERS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_means_the_files_of_events_below_it(folder: Path) -> None:
    assert files_of([folder]) == [folder / name for name in NAMES]


def test_of_a_mapping_with_a_layout_every_file_is_one(folder: Path) -> None:
    assert files_of([folder], any_format=True) == [folder / name for name in [*NAMES, OTHERS[0]]]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("*.jsonl", ["a.jsonl"]), ("i?", NAMES[2:]), ("**/*.parquet", ["in/c.parquet"]),
     ("[ab].*", NAMES[:2])],
)  # fmt: skip
def test_a_pattern_means_what_matches_it(folder: Path, pattern: str, names: list[str]) -> None:
    assert files_of([folder / pattern]) == [folder / name for name in names]


def test_a_pattern_from_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert files_of([Path("in/*.parquet")]) == [Path("in/c.parquet")]


def test_a_name_with_brackets_that_is_there_is_no_pattern(folder: Path) -> None:
    path = folder / "a[1].jsonl"
    path.touch()
    assert files_of([path]) == [path]


def test_a_file_counts_once(folder: Path) -> None:
    path = folder / "a.jsonl"
    assert files_of([path, STDIN, folder / "in" / ".." / "a.jsonl", STDIN]) == [path, STDIN]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("*.tsv", "nothing matches"),
        (
            "empty",
            r"holds no file of events; name one with \.jsonl.* also with \.gz or \.zst behind it",
        ),
    ],
)
def test_nothing_is_refused(folder: Path, name: str, sentence: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(RowsError, match=sentence):
        files_of([folder / name])


def test_a_digest_tells_contents_and_not_names(tmp_path: Path) -> None:
    for name, data in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (digest_of(tmp_path / name) for name in "abc")
    assert a == b != c
