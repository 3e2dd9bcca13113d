"""Known-item queries made from a shop's titles: words dropped, reordered and mistyped.

    python -m benchmarks.search_queries --data ../shared/data/online_retail --out FOLDER

Writes items.csv, queries.csv and judgements.csv, as ``nextclick evaluate --protocol search`` reads
them. Everything about a query is generated from the seed; nobody has typed it, which the column
``generated`` of queries.csv says too. The right answer is the title that a query was made from, and
any other title of the same words.
"""

import argparse
import csv
import string
import sys
from collections import defaultdict
from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from model.words import tokens

QUERIES = 2_000
SEED = 20_260
MISTYPED = 0.6
"""Share of queries with a mistyped word: more than shops see (Wang et al. report one in seven), for
this is what the set is to measure."""
REORDERED = 0.5
LEAST_LETTERS = 4
"""Shorter words are not mistyped."""
NEIGHBOURS = {
    letter: (line[at - 1] if at else "") + (line[at + 1] if at + 1 < len(line) else "")
    for line in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for at, letter in enumerate(line)
}
"""Keys beside each key."""


class MadeQuery(NamedTuple):
    """A query and what it was made from."""

    text: str
    answers: list[str]
    mistyped: bool


def titles_of(folder: Path) -> list[str]:
    """Distinct titles of Online Retail's lines, sorted; notes of the staff are left out.

    Raises:
        FileNotFoundError: the folder lacks the file.
    """
    found = pq.read_table(
        folder / "online_retail_full_noids.parquet", columns=["Description", "UnitPrice"]
    ).to_pydict()
    lines = zip(found["Description"], found["UnitPrice"], strict=True)
    titles = {title.strip() for title, price in lines if title and price > 0}
    # Goods are in capitals; what was lost, damaged or wrongly booked is not.
    return sorted(each for each in titles if each.isupper() and len(tokens(each)) > 1)


def made_queries(titles: Sequence[str], count: int, seed: int) -> list[MadeQuery]:
    """Queries of two to four words of titles that are drawn at random."""
    chance = np.random.default_rng(seed)
    same = defaultdict(list)
    for title in titles:
        same[frozenset(tokens(title))].append(title)
    made = []
    for at in chance.choice(len(titles), count, replace=count > len(titles)).tolist():
        words = tokens(titles[at])
        kept = np.sort(
            chance.choice(len(words), min(len(words), int(chance.integers(2, 5))), replace=False)
        )
        if chance.random() < REORDERED:
            kept = chance.permutation(kept)
        chosen = [words[place] for place in kept.tolist()]
        long = [place for place, word in enumerate(chosen) if len(word) >= LEAST_LETTERS]
        mistyped = bool(long) and chance.random() < MISTYPED
        if mistyped:
            place = int(chance.choice(long))
            chosen[place] = with_typing_error(chosen[place], chance)
        made.append(MadeQuery(" ".join(chosen), same[frozenset(words)], mistyped))
    return made


def with_typing_error(word: str, chance: np.random.Generator) -> str:
    """The word with a letter left out, doubled, hit beside, or swapped; never the word itself."""
    while True:
        at = int(chance.integers(1, len(word)))
        match int(chance.integers(4)):
            case 0:
                typed = word[:at] + word[at + 1 :]
            case 1:
                typed = word[:at] + word[at - 1 :]
            case 2:
                beside = NEIGHBOURS.get(word[at], string.ascii_lowercase)
                typed = word[:at] + str(chance.choice(list(beside))) + word[at + 1 :]
            case _:
                typed = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        if typed != word:
            return typed


def write_known_items(data: Path, folder: Path, count: int = QUERIES, seed: int = SEED) -> None:
    """Make the three files of a folder, which is created."""
    titles = titles_of(data)
    ids = {title: str(number) for number, title in enumerate(titles)}
    queries = made_queries(titles, count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "items.csv", ["item_id", "title"], [[ids[each], each] for each in titles])
    _write(
        folder / "queries.csv",
        ["query_id", "query", "split", "generated", "mistyped"],
        [
            [at, each.text, split_of(str(at)), 1, int(each.mistyped)]
            for at, each in enumerate(queries)
        ],
    )
    _write(
        folder / "judgements.csv",
        ["query_id", "item_id", "grade"],
        [[at, ids[title], 1] for at, each in enumerate(queries) for title in each.answers],
    )


def split_of(query_id: str) -> str:
    """``validation`` or ``test``: a fixed half of the queries each, so that a choice made once on
    the one is never judged on it.
    """
    digest = md5(query_id.encode(), usedforsecurity=False).digest()
    return "validation" if digest[0] < 128 else "test"


def _write(path: Path, header: list[str], rows: list[list[str]] | list[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/online_retail"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    write_known_items(asked.data, asked.out, asked.queries, asked.seed)
    sys.stdout.write(f"wrote {asked.out}\n")


if __name__ == "__main__":
    main()
