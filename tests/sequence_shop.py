"""Sequences whose right answer is known, because the pattern was planted."""

import numpy as np

from model.features import DAY_MS
from model.sequences import Sequences

ITEMS = 12


def named(lists: list[str], item_ids: str | None = None) -> Sequences:
    """One sequence a string, one item a letter."""
    ids = item_ids or "".join(sorted(set("".join(lists))))
    return Sequences.from_lists([[ids.index(letter) for letter in each] for each in lists], ids)


def letters(sequences: Sequences) -> list[str]:
    """The reverse of ``named``."""
    parts = np.split(sequences.items, sequences.starts[1:-1])
    return ["".join(sequences.item_ids[item] for item in part) for part in parts]


def circle(users: int = 40, length: int = 9) -> Sequences:
    """Item n + 1 follows item n, round and round, from another beginning for each user."""
    lists = [[(user + step) % ITEMS for step in range(length)] for user in range(users)]
    return Sequences.from_lists(lists, [f"item-{number}" for number in range(ITEMS)])


def timed(users: list[list[tuple[str, float]]]) -> Sequences:
    """One user a list of (item letter, day), in order."""
    found = named(["".join(item for item, _ in user) for user in users])
    times = np.array([round(day * DAY_MS) for user in users for _, day in user], np.int64)
    return Sequences(found.items, found.starts, found.item_ids, times)
