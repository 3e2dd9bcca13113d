"""Sequences packed into rows of one width, so that hardly a position is spent on padding.

Each event but the last of a sequence is a position whose answer is the event after it or, where
times are known, one of those of the next moment: what is bought together has no order. Sequences
longer than a row are cut, at other places every epoch; those that are short share a row, each a
segment of its own that does not see the others (Krell et al., "Efficient Sequence Packing without
Cross-contamination", 2021).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM, PADDING, Features, gap_buckets
from model.ragged import ranges
from model.sequences import Sequences

OPEN_ROWS = 16
"""Rows that the next piece may still go into; more would fill them hardly better."""


class PackedRows(NamedTuple):
    """int64 [R, width] each, 0 where there is nothing."""

    items: NDArray[np.int64]
    """Rows of the vocabulary."""
    kinds: NDArray[np.int64]
    gaps: NDArray[np.int64]
    segments: NDArray[np.int64]
    """From 1 in each row."""
    answers: NDArray[np.int64]
    """Rows of the vocabulary of what came next; 0 where nothing did."""
    answer_kinds: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "PackedRows":
        """Some of the rows."""
        return PackedRows(*(values[rows] for values in self))


def inputs_of(sequences: Sequences) -> Features:
    """What the network reads of each event, int64 [N] each; where only order is known, gaps are 0
    and all kinds the same."""
    items = sequences.items.astype(np.int64) + FIRST_ITEM
    kinds = np.ones(len(items), np.int64)
    if sequences.kinds is not None:
        kinds = sequences.kinds.astype(np.int64)
    gaps = np.zeros(len(items), np.int64)
    if sequences.times is not None and len(items):
        firsts = sequences.starts[:-1][sequences.lengths > 0]
        gaps = gap_buckets(sequences.times, firsts)
    return Features(items, kinds, gaps)


def windows_of(sequences: Sequences, length: int) -> Features:
    """The newest ``length`` events of each sequence, int64 [S, L] each, newest last, padded with 0
    on the left; L is no longer than the longest sequence asks for, and at least 1."""
    # One event more, so that the pause before the window is known.
    newest = sequences.newest(length + 1)
    lengths = np.minimum(newest.lengths, length)
    width = max(int(lengths.max(initial=0)), 1)
    source = newest.starts[1:, None] + np.arange(-width, 0)
    held = np.arange(-width, 0) >= -lengths[:, None]
    cells = [np.full(held.shape, PADDING, np.int64) for _ in range(3)]
    for values, flat in zip(cells, inputs_of(newest), strict=True):
        values[held] = flat[source[held]]
    return Features(*cells)


def pack(sequences: Sequences, width: int, chance: np.random.Generator) -> PackedRows:
    """One epoch: every event and what came next once, in random order.

    Args:
        sequences: those of fewer than two events are left out.
        width: positions of a row.
        chance: draws the cuts, the order, and the answers among those of a moment.
    """
    begins, sizes = _pieces(sequences, width, chance)
    order = chance.permutation(len(begins))
    begins, sizes = begins[order], sizes[order]
    row, column, segment = _places(sizes, width)
    source, cells = ranges(begins, sizes), ranges(row * width + column, sizes)
    shape = (int(row.max(initial=-1)) + 1, width)
    inputs = inputs_of(sequences)
    following = _followers(sequences, chance)[source]

    def filled(values: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.full(shape, PADDING, np.int64)
        rows.reshape(-1)[cells] = values
        return rows

    items, kinds, gaps = (filled(values[source]) for values in inputs)
    return PackedRows(
        items,
        kinds,
        gaps,
        filled(np.repeat(segment, sizes)),
        filled(np.append(inputs.items, PADDING)[following]),
        filled(np.append(inputs.kinds, PADDING)[following]),
    )


def _followers(sequences: Sequences, chance: np.random.Generator) -> NDArray[np.int64]:
    """The event that is the answer of each one, int64 [N]; -1 where nothing follows."""
    events = np.arange(len(sequences.items))
    begins = np.ones(len(events), bool)
    begins[1:] = np.diff(sequences.rows) != 0
    if sequences.times is None:
        return np.where(np.append(begins[1:], True), -1, events + 1)
    begins[1:] |= np.diff(sequences.times) != 0
    moments = np.cumsum(begins) - 1
    firsts = np.append(np.flatnonzero(begins), len(events))
    following = np.minimum(moments + 1, len(firsts) - 2)
    sizes = np.diff(firsts)[following]
    drawn = firsts[following] + (chance.random(len(events)) * sizes).astype(np.int64)
    same = (sequences.rows[drawn] == sequences.rows) & (following > moments)
    return np.where(same, drawn, -1)


def _pieces(
    sequences: Sequences, width: int, chance: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First event and number of positions of each piece, none above ``width``."""
    pairs = np.maximum(sequences.lengths - 1, 0)
    first = np.where(pairs > width, chance.integers(1, width + 1, len(pairs)), pairs)
    count = (pairs > 0) + np.maximum(-(-(pairs - first) // width), 0)
    owner = np.repeat(np.arange(len(pairs)), count)
    number = ranges(np.zeros_like(count), count)
    begin = np.where(number > 0, first[owner] + (number - 1) * width, 0)
    end = np.minimum(first[owner] + number * width, pairs[owner])
    return sequences.starts[:-1][owner] + begin, end - begin


def _places(
    sizes: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first column and number in its row of each piece: into the first open row that fits."""
    places = np.zeros((3, len(sizes)), np.int64)
    rows: list[list[int]] = []
    """Row, positions used, pieces: of the open ones."""
    total = 0
    for piece, size in enumerate(sizes.tolist()):
        for slot in rows:
            if slot[1] + size <= width:
                break
        else:
            if len(rows) == OPEN_ROWS:
                rows.remove(max(rows, key=lambda each: each[1]))
            slot = [total, 0, 0]
            rows.append(slot)
            total += 1
        slot[2] += 1
        places[:, piece] = slot
        slot[1] += size
    return places[0], places[1], places[2]


def batches(packed: PackedRows, rows: int, chance: np.random.Generator) -> Iterator[PackedRows]:
    """All rows in random order, ``rows`` at a time."""
    order = chance.permutation(len(packed.items))
    for start in range(0, len(order), rows):
        yield packed.take(order[start : start + rows])
