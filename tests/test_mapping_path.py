"""Paths of mappings lead into objects and lists."""

import pytest

from model.mapping_sources import column

ROW = {
    "a": {"b": "nested"},
    "all": [{"id": "1"}, {}, {"id": "2", "n": {"m": "x"}}],
    "odd[": "as it stands",
    "dotted.": "too",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", "nested"),
        ("a.b.c", None),
        ("all[].id", ["1", None, "2"]),
        ("all[]", ROW["all"]),
        ("all[id=2].n.m", "x"),
        ("all[id=3].n.m", None),
        ("a[].b", None),
        ("odd[", "as it stands"),
        ("dotted.", "too"),
        ("absent.b", None),
    ],
)
def test_a_path_leads_into_objects_and_lists(path: str, value: object) -> None:
    assert column(path)(ROW, {}) == value
    assert column(f".{path}")({}, ROW) == value


def test_a_column_with_the_whole_path_for_a_name_comes_first() -> None:
    assert column("a[].b")({"a": [{"b": "x"}], "a[].b": "y"}, {}) == "y"
