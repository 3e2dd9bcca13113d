"""A folder of graded queries: ``queries.csv``, ``items.csv``, ``judgements.csv``.

| file | columns that are needed | columns that are used if they are there |
|---|---|---|
| ``queries.csv`` | ``query_id``, ``query`` | ``split``: ``validation`` or ``test`` |
| ``items.csv`` | ``item_id``, ``title`` | ``brand``; ``category``, levels apart by ``/`` or ``>`` |
| ``judgements.csv`` | ``query_id``, ``item_id``, ``grade`` | |

A grade is a number of at least 0, or one of the words in ``GRADES``; what is not judged is
irrelevant. Public sets that name files and columns another way are read as they are (``FILES``,
``COLUMNS``), with commas or tabs between. Other columns are ignored, a description too: a catalogue
record has none.
"""

import csv
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.items import Item
from model.search_quality import Judgements

FILES = {
    "queries": ("queries", "query"),
    "items": ("items", "item", "products", "product"),
    "judgements": ("judgements", "judgments", "labels", "label", "qrels"),
}
COLUMNS = {
    "query_id": ("query_id", "qid", "id"),
    "query": ("query", "query_text", "text", "search_term", "keywords"),
    "split": ("split",),
    "item_id": ("item_id", "product_id", "doc_id", "docid", "asin", "sku", "id"),
    "title": ("title", "product_title", "product_name", "name", "item_title", "item_name"),
    "brand": ("brand", "product_brand", "brand_name"),
    "category": (
        "category", "categories", "category_hierarchy", "category_path", "product_category",
        "product_class", "class",
    ),
    "grade": (
        "grade", "label", "relevance", "rel", "score", "gain", "rating", "judgement", "judgment",
        "esci_label",
    ),
}  # fmt: skip
"""The first of these that a file has."""
GRADES = {
    "exact": 3, "e": 3, "substitute": 2, "s": 2, "partial": 1, "complement": 1, "c": 1,
    "irrelevant": 0, "i": 0,
}  # fmt: skip
MOST_GRADE = 20
"""Gains double with each grade."""
VALIDATION = {"validation", "valid", "val", "dev", "train"}
_LEVELS = re.compile(r"\s*[/>|]\s*")


class SearchFolderError(ValueError):
    """The folder cannot be judged on; names file, line and what to do."""


@dataclass(frozen=True)
class SearchSet:
    """A catalogue, queries, and how well items answer them."""

    items: list[Item]
    queries: list[str]
    query_ids: list[str]
    splits: list[str]
    """``validation`` or ``test`` of each query; empty where the folder does not say."""
    judgements: Judgements


class _Line(NamedTuple):
    path: Path
    number: int
    cells: Mapping[str, str]

    def fault(self, what: str) -> SearchFolderError:
        return SearchFolderError(f"{self.path}, line {self.number}: {what}")


def read_search_folder(folder: Path) -> SearchSet:
    """All of a folder. Raises SearchFolderError."""
    if not folder.is_dir():
        raise SearchFolderError(f"{folder} is no folder; name one with queries.csv, items.csv and "
                                "judgements.csv")  # fmt: skip
    items: dict[str, Item] = {}
    for line in _lines(folder, "items", ("item_id", "title"), ("brand", "category")):
        item = _item(line)
        if items.setdefault(item.item_id, item) is not item:
            raise line.fault(f"item {item.item_id!r} stands there twice; keep one")
    queries: dict[str, tuple[str, str]] = {}
    for line in _lines(folder, "queries", ("query_id", "query"), ("split",)):
        query_id = line.cells["query_id"]
        if query_id in queries:
            raise line.fault(f"query {query_id!r} stands there twice; keep one")
        queries[query_id] = line.cells["query"], line.cells.get("split", "").lower()
    return SearchSet(
        list(items.values()),
        [text for text, _ in queries.values()],
        list(queries),
        _splits([split for _, split in queries.values()]),
        _judgements(folder, list(queries), list(items)),
    )


def _item(line: _Line) -> Item:
    cells = line.cells
    levels = (level for level in _LEVELS.split(cells.get("category", "")) if level)
    return Item(
        item_id=cells["item_id"],
        title=cells["title"],
        category=tuple(levels),
        brand=cells.get("brand") or None,
    )


def _splits(named: list[str]) -> list[str]:
    if not any(named):
        return []
    return ["validation" if each in VALIDATION else "test" for each in named]


def _judgements(folder: Path, query_ids: list[str], item_ids: list[str]) -> Judgements:
    number_of = {query_id: number for number, query_id in enumerate(query_ids)}
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    graded: dict[tuple[int, int], float] = {}
    for line in _lines(folder, "judgements", ("query_id", "item_id", "grade"), ()):
        number, row = number_of.get(line.cells["query_id"]), row_of.get(line.cells["item_id"])
        if number is None:
            raise line.fault(
                f"there is no query {line.cells['query_id']!r}; add it, or remove this"
            )
        if row is None:
            raise line.fault(f"there is no item {line.cells['item_id']!r}; add it, or remove this")
        # Of several judges the last has the word.
        graded[number, row] = _grade(line)
    if not graded:
        raise SearchFolderError(f"{folder} holds no judgement; there is nothing to judge by")
    pairs = np.array(list(graded), np.int64)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Judgements(
        pairs[order, 1],
        np.array(list(graded.values()))[order],
        np.searchsorted(pairs[order, 0], np.arange(len(query_ids) + 1)),
    )


def _grade(line: _Line) -> float:
    text = line.cells["grade"].strip().lower()
    if text in GRADES:
        return GRADES[text]
    try:
        grade = float(text)
    except ValueError:
        grade = math.nan
    if not 0 <= grade <= MOST_GRADE:
        raise line.fault(
            f"grade {line.cells['grade']!r} is neither a number from 0 to {MOST_GRADE} nor one of "
            f"{', '.join(GRADES)}"
        )
    return grade


def _lines(
    folder: Path, kind: str, needed: tuple[str, ...], used: tuple[str, ...]
) -> Iterator[_Line]:
    """The lines of a file, by our names of columns."""
    path = _path(folder, kind)
    # Descriptions of goods are longer than Python's cautious limit.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter="\t" if "\t" in first else ",")
            names = [re.sub(r"[^a-z0-9]+", "_", name.strip().lower()) for name in next(reader, [])]
            places = {name: _place(names, name) for name in (*needed, *used)}
            for name in needed:
                if places[name] is None:
                    raise SearchFolderError(
                        f"{path} has the columns {', '.join(names) or 'none'}; it needs "
                        f"{name} (or {', '.join(COLUMNS[name][1:])})"
                    )
            for cells in reader:
                if not any(cells):
                    continue
                found = {
                    name: cells[place].strip() if place < len(cells) else ""
                    for name, place in places.items()
                    if place is not None
                }
                line = _Line(path, reader.line_num, found)
                for name in needed:
                    if not found[name] and name.endswith(("_id", "grade")):
                        raise line.fault(f"{name} is empty")
                yield line
        except (csv.Error, UnicodeDecodeError) as error:
            raise SearchFolderError(f"{path} is no UTF-8 CSV file: {error}") from None


def _path(folder: Path, kind: str) -> Path:
    for name in FILES[kind]:
        for suffix in ("csv", "tsv"):
            path = folder / f"{name}.{suffix}"
            if path.is_file():
                return path
    raise SearchFolderError(f"{folder} holds no {kind}.csv; see docs/search.md for its columns")


def _place(names: list[str], wanted: str) -> int | None:
    return next((names.index(name) for name in COLUMNS[wanted] if name in names), None)
