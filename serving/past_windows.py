"""One section of many users in columns, and which of its records a user's window held when.

A record that arrives is admitted if its user's window has room for it or holds an older one, and
pairs are made with what the window holds then: as if each event were merged alone. In columns that
is a question of ranks, and trivial where nothing overflows, or where events arrive in the order of
their time; only the others are gone through one by one.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.ids import ITEM_HASH_BYTES
from serving.past_events import Rows
from serving.profile import IDENTITY_BYTES, INTERACTIONS, LINKED, Section, unsigned

OLD = -1
"""Arrival of what a profile held before."""
TIME_BYTES = 6


@dataclass
class Window:
    """Distinct records of many users: of each the new ones, and the older ones near to them.

    Arrays of one length N, by user and then by record, oldest first; and some of length U.
    """

    section: Section
    records: NDArray[np.uint8]
    """[N, width]."""
    owner: NDArray[np.int64]
    times: NDArray[np.int64]
    """Epoch milliseconds."""
    arrival: NDArray[np.int64]
    """``OLD``, or the place of the event that brought it first."""
    has_come: NDArray[np.bool_]
    """Whether an event brought it, the first time or again."""
    starts: NDArray[np.int64]
    """[U + 1], where each user's records begin."""
    older: NDArray[np.int64]
    """[U], how many records more the profile held, all of them older."""
    held_bytes: list[int]
    """[U], how many bytes of the held section are among the records."""
    is_admitted: NDArray[np.bool_]
    """Whether it is new and had room."""
    floor: NDArray[np.int64]
    """Of a new record the place of the oldest record of its user's window when it arrived."""

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def is_linked(self) -> NDArray[np.bool_]:
        """Which come from an anonymous id: they make no pairs."""
        kind, limit = (-1, 1)
        if self.section is INTERACTIONS:
            kind, limit = IDENTITY_BYTES + ITEM_HASH_BYTES, LINKED
        return np.asarray(self.records[:, kind] >= limit, np.bool_)

    @property
    def makes_pairs(self) -> NDArray[np.bool_]:
        """Which are the user's own, and stood in the window."""
        own: NDArray[np.bool_] = ~self.is_linked
        own &= (self.arrival == OLD) | self.is_admitted
        return own

    def items(self) -> NDArray[np.uint64]:
        """Hashes of the items of interactions."""
        place = slice(IDENTITY_BYTES, IDENTITY_BYTES + ITEM_HASH_BYTES)
        packed = np.ascontiguousarray(self.records[:, place])
        return unsigned(packed.view(f"V{ITEM_HASH_BYTES}").ravel())

    def sizes(self) -> NDArray[np.int64]:
        """[U], all records of each user, the older ones too."""
        return np.diff(self.starts) + self.older

    def overflows(self) -> NDArray[np.bool_]:
        """[U], whose records are more than a window holds."""
        return self.sizes() > self.section.bound

    def out_of_order(self) -> NDArray[np.bool_]:
        """[U], whose records did not arrive in their order."""
        back = (self.arrival[1:] < self.arrival[:-1]) & (self.owner[1:] == self.owner[:-1])
        found = np.zeros(len(self.older), np.bool_)
        found[self.owner[1:][back]] = True
        return found


def window_of(
    section: Section,
    rows: Rows,
    held: Sequence[bytes],
    since: Sequence[bytes],
    markers: NDArray[np.int64],
) -> Window:
    """The new records of a section beside what the profiles held.

    Args:
        section: which one.
        rows: the new records.
        held: of each user the section as it was, newest first, without what was forgotten.
        since: of each user the time, as records begin with it, from which on older ones matter.
        markers: of each user the time until which all is forgotten, -1 for none.
    """
    width = section.width
    held_bytes = [_bytes_since(each, limit, width) for each, limit in zip(held, since, strict=True)]
    near = [each[:size] for each, size in zip(held, held_bytes, strict=True) if size]
    table = np.frombuffer(b"".join((*near, rows.packed)), np.uint8).reshape(-1, width)
    counts = np.array(held_bytes, np.int64) // width
    users, old = len(held), int(counts.sum())
    owner = np.concatenate([np.repeat(np.arange(users), counts), np.array(rows.owners, np.int64)])
    arrival = np.full(len(table), OLD, np.int64)
    arrival[old:] = rows.arrivals
    words = _words(table)
    times = (words[:, 0] >> np.uint64(16)).astype(np.int64)
    kept = np.flatnonzero((times > markers[owner]) | (arrival == OLD))
    order = kept[np.lexsort((*words[kept].T[::-1], owner[kept]))]
    words, owner = words[order], owner[order]
    # Of equal ones the first is the one held before, or the one that came first.
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (owner[1:] != owner[:-1]) | (words[1:] != words[:-1]).any(axis=1)
    has_come = arrival[order[np.append(is_first[1:], True)[: len(order)]]] != OLD
    order, owner = order[is_first], owner[is_first]
    starts = np.searchsorted(owner, np.arange(users + 1))
    sizes = np.array([len(each) for each in held], np.int64) // width
    is_new = arrival[order] != OLD
    return Window(
        section=section,
        records=table[order],
        owner=owner,
        times=times[order],
        arrival=arrival[order],
        has_come=has_come,
        starts=starts,
        older=sizes - counts,
        held_bytes=held_bytes,
        is_admitted=is_new,
        floor=starts[owner],
    )


def admit(seen: Window, asked: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find out what had room when it arrived, of interactions and of queries.

    Changes ``is_admitted`` and ``floor`` of both.

    Returns:
        Of each interaction the place of the oldest query, and of each query that of the oldest
        interaction, that the other window held when it arrived.
    """
    asked_floor, seen_floor = asked.starts[seen.owner], seen.starts[asked.owner]
    for window in (seen, asked):
        rows = np.flatnonzero(window.overflows()[window.owner])
        window.floor[rows] = np.maximum(window.floor[rows], rows - (window.section.bound - 1))
    rows = np.flatnonzero(asked.overflows()[seen.owner] & (seen.arrival != OLD))
    if len(rows):
        before = _arrived_before(asked, seen.owner[rows], seen.arrival[rows])
        asked_floor[rows] = np.maximum(
            asked_floor[rows], asked_floor[rows] + before - asked.section.bound
        )
    one_by_one = (seen.overflows() & seen.out_of_order()) | (
        asked.overflows() & asked.out_of_order()
    )
    for user in np.flatnonzero(one_by_one).tolist():
        _admit_one_by_one(user, (seen, asked), (asked_floor, seen_floor))
    return asked_floor, seen_floor


def _arrived_before(
    window: Window, owners: NDArray[np.int64], arrivals: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many of each user's records here arrived before; the held ones did."""
    keys = np.sort((window.owner << 32) | (window.arrival + 1))
    return np.searchsorted(keys, (owners << 32) | (arrivals + 1)) - window.starts[owners]


def _admit_one_by_one(
    user: int, windows: tuple[Window, Window], other_floors: tuple[NDArray[np.int64], ...]
) -> None:
    held: list[list[int]] = []
    arriving: list[tuple[int, int, int]] = []
    for which, window in enumerate(windows):
        begin, end = int(window.starts[user]), int(window.starts[user + 1])
        arrivals = window.arrival[begin:end].tolist()
        ranks = [begin + at for at, arrival in enumerate(arrivals) if arrival == OLD]
        held.append([*range(begin - int(window.older[user]), begin), *ranks])
        arriving += [
            (arrival, which, begin + at) for at, arrival in enumerate(arrivals) if arrival != OLD
        ]
    for _, which, row in sorted(arriving):
        mine, other, window = held[which], held[1 - which], windows[which]
        is_full = len(mine) >= window.section.bound
        window.is_admitted[row] = has_room = not is_full or row > mine[0]
        if not has_room:
            continue
        insort(mine, row)
        if is_full:
            del mine[0]
        window.floor[row] = mine[0]
        if other:
            other_floors[which][row] = other[0]


def _bytes_since(section: bytes, limit: bytes, width: int) -> int:
    """How much of a section, newest first, is of that time or later."""
    end = 0
    while section[end : end + TIME_BYTES] >= limit:
        end += width
    return end


def _words(table: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Records as whole numbers in a row that sort as the records do: [N, width / 8, rounded up]."""
    count, width = table.shape
    padded = np.zeros((count, -(-width // 8) * 8), np.uint8)
    padded[:, :width] = table
    return padded.view(">u8").astype(np.uint64)
