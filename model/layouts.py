"""Public layouts of interaction data, read into ``Sequences``; what was left out is counted.

Sequence files: one line a user, item ids apart by spaces, oldest first; the line may begin with
the user's id. Session files: the same without ids, in the order of the sessions, beside a file of
``prefix<TAB>target`` lines. Shop files: Parquet with CustomerID, Description, Quantity and
InvoiceDate. Atomic files (RecBole): tab-separated, ``name:type`` in the header.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.dataset import PURCHASE, EventLog
from model.events import INTERACTION_KINDS, Click
from model.sequences import Cases, Sequences

CLICK = INTERACTION_KINDS[Click]


@dataclass
class Cleaning:
    """What became of the rows of a file; ``str`` of it is a sentence."""

    read: int = 0
    """Rows (events, purchase lines) found."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason to rows that were left out for it, in the order of the checks."""

    def drop(self, reason: str, rows: int) -> None:
        """Note rows that are left out; none is not worth a note."""
        if rows:
            self.dropped[reason] = self.dropped.get(reason, 0) + rows

    @property
    def kept(self) -> int:
        """Rows that remain."""
        return self.read - sum(self.dropped.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in self.dropped.items())
        return f"{self.kept:,} of {self.read:,} rows kept" + (
            f"; left out: {reasons}" * bool(reasons)
        )


class ItemCodes:
    """Positions given to item ids in the order in which they are first met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def of(self, ids: Iterable[str]) -> list[int]:
        """The position of each id, a new one for an id that is new."""
        codes = self._codes
        return [codes.setdefault(each, len(codes)) for each in ids]

    @property
    def ids(self) -> list[str]:
        """All ids so far, by position."""
        return list(self._codes)


def read_sequences(path: Path, *, owner_first: bool) -> tuple[Sequences, Cleaning]:
    """A sequence file.

    Args:
        path: one line a user.
        owner_first: whether each line begins with the user's id.

    Raises:
        ValueError: when a user id comes twice, or the file holds no item.
    """
    codes, cleaning = ItemCodes(), Cleaning()
    lists: list[list[int]] = []
    owners: set[str] = set()
    for number, words in _lines(path):
        if owner_first:
            owner, *words = words
            if owner in owners:
                raise ValueError(f"{path}, line {number}: user {owner!r} has a line already")
            owners.add(owner)
        lists.append(codes.of(words))
    found = Sequences.from_lists(lists, codes.ids)
    cleaning.read = len(found.items)
    _refuse_empty(found, path)
    return found, cleaning


def read_inputs_and_outputs(inputs: Path, outputs: Path) -> tuple[Sequences, Cleaning]:
    """A sequence file without user ids and, line by line, the item that ends each sequence.

    Raises:
        ValueError: when the files differ in length, or a line of ``outputs`` is not one item.
    """
    codes = ItemCodes()
    begun = [words for _, words in _lines(inputs)]
    ended = list(_lines(outputs))
    if len(begun) != len(ended):
        raise ValueError(
            f"{inputs} has {len(begun)} lines and {outputs} {len(ended)}; need as many"
        )
    for number, words in ended:
        if len(words) != 1:
            raise ValueError(f"{outputs}, line {number}: expected one item, got {len(words)}")
    lists = [codes.of([*first, *last]) for first, (_, last) in zip(begun, ended, strict=True)]
    found = Sequences.from_lists(lists, codes.ids)
    _refuse_empty(found, inputs)
    return found, Cleaning(read=len(found.items))


def read_sessions(sessions: Path, prefixes: Path) -> tuple[Sequences, Cases, Cleaning]:
    """Sessions to learn from, in the order of time, and the prefixes to continue.

    An item of the prefixes that no session has stays in the catalogue: it is ranked too.

    Returns:
        The sessions, the test cases (seen items are not excluded), and the cleaning of both.

    Raises:
        ValueError: when a line of ``prefixes`` is not a prefix, a tab and one item.
    """
    codes, cleaning = ItemCodes(), Cleaning()
    learned = [codes.of(words) for _, words in _lines(sessions)]
    lists: list[list[int]] = []
    targets: list[int] = []
    with prefixes.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            prefix, tab, target = line.rstrip("\n").partition("\t")
            if not (tab and prefix.split() and len(target.split()) == 1):
                raise ValueError(f"{prefixes}, line {number}: expected a prefix, a tab and an item")
            lists.append(codes.of(prefix.split()))
            targets += codes.of(target.split())
    cleaning.read = sum(map(len, learned)) + sum(map(len, lists)) + len(targets)
    train = Sequences.from_lists(learned, codes.ids)
    _refuse_empty(train, sessions)
    histories = Sequences.from_lists(lists, codes.ids)
    cases = Cases.single(histories, np.array(targets, np.int32), seen_excluded=False)
    return train, cases, cleaning


def read_shop(path: Path) -> tuple[Sequences, Cleaning]:
    """Purchase lines of a shop, by customer; the description is the item.

    Left out: lines without customer or description, cancellations (quantity below one), and
    further lines of one item in the same basket (customer and minute).
    """
    columns = ["CustomerID", "Description", "Quantity", "InvoiceDate"]
    table = pq.read_table(path, columns=columns)
    cleaning = Cleaning(read=table.num_rows)
    titles = pc.utf8_trim_whitespace(table["Description"].cast(pa.string()))
    table = table.set_column(1, "Description", titles)
    for reason, kept in (
        ("without a customer", pc.field("CustomerID").is_valid()),
        ("without a description", pc.field("Description") != ""),
        ("cancelled", pc.field("Quantity") > 0),
    ):
        before = table.num_rows
        # A comparison with nothing is nothing, and what is not true is left out.
        table = table.filter(kept)
        cleaning.drop(reason, before - table.num_rows)
    users = table["CustomerID"].cast(pa.int64()).cast(pa.string())
    times = table["InvoiceDate"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    log = _log(users, table["Description"], times, PURCHASE)
    return _without_copies(log, cleaning), cleaning


def read_atomic(path: Path, kind: int = CLICK) -> tuple[Sequences, Cleaning]:
    """A RecBole ``.inter`` file: columns user_id, item_id and, where known, timestamp (seconds).

    Without a timestamp the order of the lines counts. Lines that say the same (user, item and
    timestamp) are merged.

    Raises:
        ValueError: when a column is missing or a line is short.
    """
    columns = _atomic_columns(path, ("user_id", "item_id"))
    cleaning = Cleaning(read=len(columns["user_id"]))
    timed = "timestamp" in columns
    if timed:
        times = np.rint(np.array(columns["timestamp"], np.float64) * 1000).astype(np.int64)
    else:
        times = np.arange(cleaning.read, dtype=np.int64)
    log = _log(pa.array(columns["user_id"]), pa.array(columns["item_id"]), times, kind)
    found = _without_copies(log, cleaning)
    _refuse_empty(found, path)
    return (found if timed else replace(found, times=None)), cleaning


def read_atomic_items(path: Path) -> dict[str, dict[str, str]]:
    """A RecBole ``.item`` file: item id to its other columns (title, categories, brand, ...).

    Raises:
        ValueError: when item_id is missing or a line is short.
    """
    columns = _atomic_columns(path, ("item_id",))
    names = [name for name in columns if name != "item_id"]
    rows = zip(*(columns[name] for name in names), strict=True) if names else repeat(())
    return {
        item: dict(zip(names, row, strict=True))
        for item, row in zip(columns["item_id"], rows, strict=bool(names))
    }


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and words of each line that is not blank."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if words := line.split():
                yield number, words


def _refuse_empty(found: Sequences, path: Path) -> None:
    if not len(found.items):
        raise ValueError(f"{path} holds no item; is it the right file?")


def _log(
    users: pa.ChunkedArray | pa.Array,
    items: pa.ChunkedArray | pa.Array,
    times: NDArray[np.int64],
    kind: int,
) -> EventLog:
    user_codes, item_codes = (_coded(column) for column in (users, items))
    return EventLog.from_columns(
        user_codes[0],
        item_codes[0],
        np.full(len(times), kind, np.uint8),
        times,
        user_codes[1],
        item_codes[1],
    )


def _coded(column: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.int32], list[str]]:
    """A code for each value, and the values by code."""
    chunk = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = pc.dictionary_encode(chunk)
    return coded.indices.to_numpy(), coded.dictionary.to_pylist()


def _without_copies(log: EventLog, cleaning: Cleaning) -> Sequences:
    """One sequence a user, each item once at one moment."""
    order = np.lexsort((log.items, log.times, log.users))
    same = np.zeros(len(log), bool)
    for column in (log.users, log.times, log.items):
        differs = np.diff(column[order]) != 0
        same[1:] = ~differs if column is log.users else same[1:] & ~differs
    kept = np.ones(len(log), bool)
    kept[order[same]] = False
    cleaning.drop("repeated within a moment", int(same.sum()))
    return Sequences.from_log(
        EventLog.from_columns(
            log.users[kept],
            log.items[kept],
            log.kinds[kept],
            log.times[kept],
            log.user_ids,
            log.item_ids,
        )
    )


def _atomic_columns(path: Path, needed: Sequence[str]) -> dict[str, list[str]]:
    """Column name, without its type, to the values of all lines."""
    with path.open(encoding="utf-8") as file:
        header = [name.partition(":")[0] for name in file.readline().rstrip("\n").split("\t")]
        for name in needed:
            if name not in header:
                raise ValueError(f"{path}: expected a column {name}:token, got {', '.join(header)}")
        rows = [line.rstrip("\n").split("\t") for line in file]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(row)} fields under a header of {len(header)}"
            )
    values = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {name: list(column) for name, column in zip(header, values, strict=True)}
